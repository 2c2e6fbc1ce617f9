import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { FakeClock } from "@fleet/daemon/testing";
import { SignJWT } from "jose";
import { instanceId, nodeId, tempDir } from "../testing.ts";
import { Credentials } from "./credentials.ts";

const CLAIMS = { nodeId: nodeId("radar3"), instanceId: instanceId("i1"), epoch: 4 };
const REFRESH = { nodeId: CLAIMS.nodeId, epoch: 4, groups: [] };
const HOUR_MS = 3_600_000;

function made(dataDir = ":memory:"): { credentials: Credentials; clock: FakeClock } {
  const clock = new FakeClock();
  return { clock, credentials: new Credentials(clock, dataDir) };
}

describe("an agent's credentials (H5, R9)", () => {
  test("name the agent; access expires after an hour, refresh after a week, to the second", async () => {
    const { credentials, clock } = made();
    clock.advance(1234);
    const { accessToken, accessExpiresMs, refreshToken } = await credentials.issue(CLAIMS);
    const access = { ...CLAIMS, expiresMs: accessExpiresMs };
    expect(await credentials.verifyAccess(accessToken)).toEqual(access);
    expect(await credentials.verifyRefresh(refreshToken)).toEqual(REFRESH);
    expect(accessExpiresMs).toBeGreaterThan(clock.nowMs() + HOUR_MS - 1000);

    clock.advance(accessExpiresMs - clock.nowMs() - 1);
    expect(await credentials.verifyAccess(accessToken)).toEqual(access);
    clock.advance(1);
    expect(await credentials.verifyAccess(accessToken)).toBeUndefined();

    clock.advance(7 * 24 * HOUR_MS - HOUR_MS - 2000);
    expect(await credentials.verifyRefresh(refreshToken)).toEqual(REFRESH);
    clock.advance(2000);
    expect(await credentials.verifyRefresh(refreshToken)).toBeUndefined();
  });

  test("can't be used in place of each other", async () => {
    const { credentials } = made();
    const { accessToken, refreshToken } = await credentials.issue(CLAIMS);
    expect(await credentials.verifyAccess(refreshToken)).toBeUndefined();
    expect(await credentials.verifyRefresh(accessToken)).toBeUndefined();
  });

  test("carry the groups that the enrolment token was limited to", async () => {
    const { credentials } = made();
    const { refreshToken } = await credentials.issue(CLAIMS, ["radar"]);
    expect(await credentials.verifyRefresh(refreshToken)).toEqual({
      ...REFRESH,
      groups: ["radar"],
    });
  });

  test("count as issued here after they expire, unlike tokens that were never signed here", async () => {
    const { credentials, clock } = made();
    const { accessToken, refreshToken } = await credentials.issue(CLAIMS);
    clock.advance(30 * 24 * HOUR_MS);
    for (const token of [accessToken, refreshToken])
      expect(credentials.isIssuedHere(token)).toBe(true);
    const [header, payload] = accessToken.split(".");
    for (const token of ["", "x", `${header}.${payload}.x`, `${accessToken}x`])
      expect(credentials.isIssuedHere(token)).toBe(false);
  });

  test("survive a restart with the same key, and are invalid with another", async () => {
    using dir = tempDir();
    using other = tempDir();
    const { credentials, clock } = made(dir.path);
    const { accessToken } = await credentials.issue(CLAIMS);
    expect(await new Credentials(clock, dir.path).verifyAccess(accessToken)).toMatchObject(CLAIMS);
    expect(await made(other.path).credentials.verifyAccess(accessToken)).toBeUndefined();
  });

  test("survive one key rotation, also after a restart, and end with the second", async () => {
    using dir = tempDir();
    const { credentials, clock } = made(dir.path);
    const old = await credentials.issue(CLAIMS);
    credentials.rotateKey();
    const current = await credentials.issue(CLAIMS);
    for (const one of [credentials, new Credentials(clock, dir.path)]) {
      expect(await one.verifyAccess(old.accessToken)).toMatchObject(CLAIMS);
      expect(await one.verifyRefresh(current.refreshToken)).toEqual(REFRESH);
    }
    credentials.rotateKey();
    expect(await credentials.verifyRefresh(old.refreshToken)).toBeUndefined();
    expect(await credentials.verifyAccess(old.accessToken)).toBeUndefined();
    expect(await credentials.verifyRefresh(current.refreshToken)).toEqual(REFRESH);
  });

  test("are rejected with another issuer, with invalid claims, and without a signature", async () => {
    using dir = tempDir();
    const { credentials, clock } = made(dir.path);
    const key = readFileSync(join(dir.path, "jwt.key"));
    const make = (payload: Record<string, unknown>, issuer: string): Promise<string> =>
      new SignJWT(payload)
        .setProtectedHeader({ alg: "HS256" })
        .setIssuer(issuer)
        .setExpirationTime(Math.floor(clock.nowMs() / 1000) + 60)
        .sign(key);
    const good = { sub: "radar3", iid: "i1", epoch: 1, use: "access" };
    const issuer = "fleet-coordinator";
    const verify = async (token: string): Promise<boolean> =>
      (await credentials.verifyAccess(token)) !== undefined;
    expect(await verify(await make(good, issuer))).toBe(true);
    expect(await verify(await make(good, "somebody"))).toBe(false);
    expect(await verify(await make({ ...good, sub: "../x" }, issuer))).toBe(false);
    expect(await verify(await make({ ...good, epoch: 0 }, issuer))).toBe(false);
    const [, payload] = (await make(good, issuer)).split(".");
    const header = Buffer.from(`{"alg":"none"}`).toString("base64url");
    expect(await verify(`${header}.${payload}.`)).toBe(false);
    expect(await verify("")).toBe(false);
  });
});
