import { describe, expect, test } from "bun:test";
import { chmodSync, existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { FakeClock } from "@fleet/daemon/testing";
import { SignJWT } from "jose";
import { Auth, KeyFileError, loadJwtKey, type SharedTokens } from "./auth.ts";
import { instanceId, nodeId, tempDir } from "./testing.ts";

const KEY = new Uint8Array(32).fill(7);
const CLAIMS = { nodeId: nodeId("radar3"), instanceId: instanceId("i1"), epoch: 4 };
const HOUR_MS = 3_600_000;
const TOKENS: SharedTokens = {
  enroll: ["enroll-now", "enroll-before"],
  push: ["push"],
  operator: ["operator"],
  insecureDev: false,
};

function authWith(tokens: Partial<SharedTokens> = {}): { auth: Auth; clock: FakeClock } {
  const clock = new FakeClock();
  return { clock, auth: new Auth(clock, KEY, { ...TOKENS, ...tokens }) };
}

describe("a shared token (H5)", () => {
  test("opens the door it is for, the current one and the one before, and no other door", () => {
    const { auth } = authWith();
    expect(auth.isShared("enroll", "enroll-now")).toBe(true);
    expect(auth.isShared("enroll", "enroll-before")).toBe(true);
    for (const kind of ["push", "operator"] as const) {
      expect(auth.isShared(kind, kind)).toBe(true);
      expect(auth.isShared("enroll", kind)).toBe(false);
      expect(auth.isShared(kind, "enroll-now")).toBe(false);
    }
    expect(auth.isShared("push", "operator")).toBe(false);
    expect(auth.isShared("operator", "push")).toBe(false);
  });

  test("is the whole token: nothing, nothing at all, a part or more of it do not do", () => {
    const { auth } = authWith();
    for (const token of [undefined, "", "enroll-no", "enroll-now ", "enroll-now\0", "ENROLL-NOW"])
      expect(auth.isShared("enroll", token)).toBe(false);
  });

  test("that is rotated out does not do any more", () => {
    const { auth } = authWith({ enroll: ["enroll-next", "enroll-now"] });
    expect(auth.isShared("enroll", "enroll-before")).toBe(false);
    expect(auth.isShared("enroll", "enroll-now")).toBe(true);
  });

  test("of plain nodes is called by its place, never by itself (T2)", () => {
    const { auth } = authWith({ push: ["one", "two"] });
    expect(["one", "two", "", "operator"].map((t) => auth.pushTokenName(t))).toEqual([
      "shared-1",
      "shared-2",
      undefined,
      undefined,
    ]);
    expect(authWith({ push: [], insecureDev: true }).auth.pushTokenName("any")).toBe("none");
    expect(authWith({ push: [] }).auth.pushTokenName("any")).toBeUndefined();
  });

  test("that is not configured lets nobody in, and with insecure-dev everybody", () => {
    const closed = authWith({ push: [] }).auth;
    expect([closed.isShared("push", ""), closed.isShared("push", undefined)]).toEqual([
      false,
      false,
    ]);
    const open = authWith({ push: [], insecureDev: true }).auth;
    expect([open.isShared("push", "any"), open.isShared("push", undefined)]).toEqual([true, true]);
    expect(open.isShared("operator", "any")).toBe(false);
  });
});

describe("a token is identified (A9, H5)", () => {
  test("by what it opens, and as nothing when it opens nothing", async () => {
    const { auth } = authWith({ operator: ["operator", "push"] });
    const { accessToken, refreshToken } = await auth.issue(CLAIMS);
    const { nodeId: radar3 } = CLAIMS;
    expect(await auth.identify(accessToken)).toEqual({ kind: "access", nodeId: radar3 });
    expect(await auth.identify(refreshToken)).toEqual({ kind: "refresh", nodeId: radar3 });
    for (const kind of ["push", "operator"] as const)
      expect(await auth.identify(kind)).toEqual({ kind, nodeId: undefined });
    for (const token of ["enroll-now", "enroll-before"])
      expect(await auth.identify(token)).toEqual({ kind: "enroll", nodeId: undefined });
    for (const token of [undefined, "", "nonsense", accessToken.slice(0, -2)])
      expect(await auth.identify(token)).toBeUndefined();
  });

  test("with insecure-dev and no enrolment token, as one that enrols unless it is another", async () => {
    const { auth } = authWith({ enroll: [], insecureDev: true });
    for (const token of [undefined, "any"])
      expect(await auth.identify(token)).toEqual({ kind: "enroll", nodeId: undefined });
    expect(await auth.identify("push")).toEqual({ kind: "push", nodeId: undefined });
  });
});

describe("an agent's credentials (H5, R9)", () => {
  test("say who it is; access lasts an hour, refresh a week, to the second", async () => {
    const { auth, clock } = authWith();
    clock.advance(1234);
    const issued = await auth.issue(CLAIMS);
    expect(await auth.verifyAccess(issued.accessToken)).toEqual({
      ...CLAIMS,
      expiresMs: issued.accessExpiresMs,
    });
    expect(await auth.verifyRefresh(issued.refreshToken)).toBe(CLAIMS.nodeId);
    expect(issued.accessExpiresMs).toBeGreaterThan(clock.nowMs() + HOUR_MS - 1000);

    clock.advance(issued.accessExpiresMs - clock.nowMs() - 1);
    expect(await auth.verifyAccess(issued.accessToken)).toEqual({
      ...CLAIMS,
      expiresMs: issued.accessExpiresMs,
    });
    clock.advance(1);
    expect(await auth.verifyAccess(issued.accessToken)).toBeUndefined();

    clock.advance(7 * 24 * HOUR_MS - HOUR_MS - 2000);
    expect(await auth.verifyRefresh(issued.refreshToken)).toBe(CLAIMS.nodeId);
    clock.advance(2000);
    expect(await auth.verifyRefresh(issued.refreshToken)).toBeUndefined();
  });

  test("are each good for one thing", async () => {
    const { auth } = authWith();
    const { accessToken, refreshToken } = await auth.issue(CLAIMS);
    expect(await auth.verifyAccess(refreshToken)).toBeUndefined();
    expect(await auth.verifyRefresh(accessToken)).toBeUndefined();
    for (const kind of ["enroll", "push", "operator"] as const) {
      expect(auth.isShared(kind, accessToken)).toBe(false);
      expect(await auth.verifyAccess(TOKENS[kind][0]!)).toBeUndefined();
      expect(await auth.verifyRefresh(TOKENS[kind][0]!)).toBeUndefined();
    }
  });

  test("outlive a restart with the same key, and nobody's else", async () => {
    const { auth, clock } = authWith();
    const { accessToken } = await auth.issue(CLAIMS);
    expect(await new Auth(clock, KEY, TOKENS).verifyAccess(accessToken)).toMatchObject(CLAIMS);
    const other = new Auth(clock, new Uint8Array(32).fill(8), TOKENS);
    expect(await other.verifyAccess(accessToken)).toBeUndefined();
  });

  test("can't be made without the key, of another issuer, or with ids that are none", async () => {
    const { auth, clock } = authWith();
    const make = (payload: Record<string, unknown>, issuer: string): Promise<string> =>
      new SignJWT(payload)
        .setProtectedHeader({ alg: "HS256" })
        .setIssuer(issuer)
        .setExpirationTime(Math.floor(clock.nowMs() / 1000) + 60)
        .sign(KEY);
    const good = { sub: "radar3", iid: "i1", epoch: 1, use: "access" };
    const issuer = "fleet-coordinator";
    expect(await auth.verifyAccess(await make(good, issuer))).toBeDefined();
    expect(await auth.verifyAccess(await make(good, "somebody"))).toBeUndefined();
    expect(await auth.verifyAccess(await make({ ...good, sub: "../x" }, issuer))).toBeUndefined();
    expect(await auth.verifyAccess(await make({ ...good, epoch: 0 }, issuer))).toBeUndefined();
    const [, payload] = (await make(good, issuer)).split(".");
    const header = Buffer.from(`{"alg":"none"}`).toString("base64url");
    expect(await auth.verifyAccess(`${header}.${payload}.`)).toBeUndefined();
    expect(await auth.verifyAccess("")).toBeUndefined();
  });
});

describe("the key file", () => {
  test("is made once, for its owner alone, and kept", () => {
    using dir = tempDir();
    const key = loadJwtKey(dir.path);
    expect(key.length).toBe(32);
    expect(statSync(join(dir.path, "jwt.key")).mode & 0o777).toBe(0o600);
    expect(existsSync(join(dir.path, "jwt.key.new"))).toBe(false);
    expect(Buffer.from(loadJwtKey(dir.path))).toEqual(Buffer.from(key));
  });

  test("that is damaged is refused and left as it is, for a new one would turn all agents away", () => {
    using dir = tempDir();
    const path = join(dir.path, "jwt.key");
    for (const damaged of ["", "short", "x".repeat(33)]) {
      writeFileSync(path, damaged);
      expect(() => loadJwtKey(dir.path)).toThrow(KeyFileError);
      expect(readFileSync(path, "utf8")).toBe(damaged);
    }
  });

  test("left half made by a crash is made anew, still for its owner alone", () => {
    using dir = tempDir();
    writeFileSync(join(dir.path, "jwt.key.new"), "half");
    chmodSync(join(dir.path, "jwt.key.new"), 0o644);
    loadJwtKey(dir.path);
    expect(statSync(join(dir.path, "jwt.key")).mode & 0o777).toBe(0o600);
  });

  test("is not there for :memory:, whose keys differ", () => {
    expect(Buffer.from(loadJwtKey(":memory:"))).not.toEqual(Buffer.from(loadJwtKey(":memory:")));
    expect(existsSync(":memory:")).toBe(false);
  });
});
