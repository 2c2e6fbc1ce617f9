import { describe, expect, test } from "bun:test";
import { FakeClock } from "@fleet/daemon/testing";
import { createTokenRequestSchema, type NewToken } from "@fleet/protocol";
import { Bus } from "../bus.ts";
import { Committer } from "../db/commit.ts";
import { type Db, MEMORY, openDb } from "../db/open.ts";
import { configuredTokens, RecordingLog, refuseWrites } from "../testing.ts";
import { isTokenFor, TOKENS_MAX } from "./token.ts";
import { Tokens, type TokenSettings } from "./tokens.ts";

const HOUR_MS = 3_600_000;
const SETTINGS = configuredTokens({ enroll: "enroll", push: "push", operator: "operator" });

class Rig {
  readonly clock = new FakeClock();
  readonly log = new RecordingLog();
  readonly db: Db = openDb(MEMORY).db;
  tokens: Tokens;
  readonly ended: string[] = [];

  readonly #settings: TokenSettings;

  constructor(settings: TokenSettings = SETTINGS) {
    this.#settings = settings;
    this.tokens = this.restart();
  }

  restart(): Tokens {
    const { db, clock, log } = this;
    const commits = new Committer(db, log, new Bus());
    this.tokens = new Tokens({ db, commits, clock, log, ...this.#settings });
    this.tokens.ended.add((token) => void this.ended.push(token.name));
    this.tokens.start();
    return this.tokens;
  }

  async create(
    name: string,
    more: Partial<NewToken> = {},
  ): Promise<{ readonly id: string; readonly secret: string }> {
    const order = createTokenRequestSchema.parse({ name, kind: "push", ...more });
    const outcome = await this.tokens.create(order, "boss");
    if (outcome.at !== "created") throw new Error(outcome.at);
    return { id: outcome.view.id, secret: outcome.secret };
  }

  name(kind: "enroll" | "push" | "operator", secret: string | undefined): string | undefined {
    return this.tokens.find(kind, secret)?.name;
  }
}

describe("a configured token (H5)", () => {
  test("is valid for its kind only, and is named after its variable", () => {
    const { tokens } = new Rig();
    for (const kind of ["enroll", "push", "operator"] as const) {
      expect(tokens.find(kind, kind)).toMatchObject({
        name: `env:FLEET_${kind.toUpperCase()}_TOKEN`,
        role: kind === "operator" ? "admin" : null,
      });
      for (const other of ["enroll", "push", "operator"])
        if (other !== kind) expect(tokens.find(kind, other)).toBeUndefined();
    }
  });

  test("must match completely", () => {
    const rig = new Rig();
    for (const token of [undefined, "", "enrol", "enroll ", "enroll\0", "ENROLL"])
      expect(rig.name("enroll", token)).toBeUndefined();
  });

  test("can't be revoked, because it has no row", async () => {
    const rig = new Rig();
    expect(await rig.tokens.revoke("env:FLEET_PUSH_TOKEN")).toBe("configured");
    expect(rig.name("push", "push")).toBe("env:FLEET_PUSH_TOKEN");
    expect(rig.tokens.list().map((t) => [t.id, t.created_at])).toContainEqual([
      "env:FLEET_PUSH_TOKEN",
      null,
    ]);
  });

  test("that is missing admits nobody; with insecure-dev it admits everybody until a token is created", async () => {
    const closed = new Rig(configuredTokens({}));
    expect([closed.name("push", ""), closed.name("push", undefined)]).toEqual([
      undefined,
      undefined,
    ]);
    const open = new Rig({ configured: [], insecureDev: true });
    expect([open.name("push", "any"), open.name("push", undefined)]).toEqual([
      "insecure-dev",
      "insecure-dev",
    ]);
    const { secret } = await open.create("hill");
    expect([open.name("push", "any"), open.name("push", secret)]).toEqual([undefined, "hill"]);
    expect(open.name("operator", "any")).toBe("insecure-dev");
  });
});

describe("a created token (H5)", () => {
  test("is valid at once and after a restart; only its hash is stored", async () => {
    const rig = new Rig();
    const { secret } = await rig.create("hill");
    expect(secret).toMatch(/^fle_p_/);
    expect(rig.name("push", secret)).toBe("hill");
    rig.restart();
    expect(rig.name("push", secret)).toBe("hill");
    expect(rig.name("enroll", secret)).toBeUndefined();
    const rows = JSON.stringify(rig.db.$client.query("SELECT * FROM tokens").all());
    expect(rows).not.toContain(secret);
    expect(JSON.stringify(rig.log.lines) + JSON.stringify(rig.tokens.list())).not.toContain(secret);
  });

  test("has the requested role", async () => {
    const rig = new Rig();
    for (const role of ["viewer", "operator", "admin"] as const) {
      const { secret } = await rig.create(role, { kind: "operator", role });
      expect(rig.tokens.find("operator", secret)?.role).toBe(role);
    }
  });

  test("expires to the millisecond and is reported once", async () => {
    const rig = new Rig();
    const { secret } = await rig.create("hill", { expires_in_ms: HOUR_MS });
    rig.clock.advance(HOUR_MS - 1);
    expect(rig.name("push", secret)).toBe("hill");
    rig.clock.advance(1);
    expect(rig.name("push", secret)).toBeUndefined();
    rig.clock.advance(5000);
    expect(rig.ended).toEqual(["hill"]);
    expect(rig.tokens.list().at(-1)).toMatchObject({ name: "hill", state: "EXPIRED" });
  });

  test("ends at once when revoked, and stays revoked after a restart; revoking it again changes nothing", async () => {
    const rig = new Rig();
    const { id, secret } = await rig.create("hill");
    expect(await rig.tokens.revoke(id)).toBe("revoked");
    expect([rig.name("push", secret), rig.ended]).toEqual([undefined, ["hill"]]);
    rig.clock.advance(HOUR_MS);
    expect(await rig.tokens.revoke(id)).toBe("revoked");
    rig.restart();
    rig.clock.advance(1000);
    expect([rig.name("push", secret), rig.ended]).toEqual([undefined, ["hill"]]);
    expect(rig.tokens.list().at(-1)).toMatchObject({
      state: "REVOKED",
      revoked_at: rig.clock.nowMs() - HOUR_MS - 1000,
    });
    expect(await rig.tokens.revoke("nothing")).toBe("unknown");
  });

  test("has a unique name", async () => {
    const rig = new Rig();
    await rig.create("hill");
    const order = createTokenRequestSchema.parse({ name: "hill", kind: "enroll" });
    expect((await rig.tokens.create(order, "boss")).at).toBe("name_taken");
  });

  test("replaces the oldest ended token when TOKENS_MAX are stored", async () => {
    const rig = new Rig();
    const names = Array.from({ length: TOKENS_MAX }, (_, i) => `t${i}`);
    const made = await Promise.all(names.map((name) => rig.create(name)));
    const order = createTokenRequestSchema.parse({ name: "more", kind: "push" });
    expect((await rig.tokens.create(order, "boss")).at).toBe("too_many");
    await rig.tokens.revoke(made[7]!.id);
    await rig.tokens.revoke(made[5]!.id);
    await rig.create("more");
    const stored = (): string[] => rig.tokens.list().map((t) => t.name);
    expect([stored().includes("t5"), stored().includes("t7")]).toEqual([false, true]);
    rig.restart();
    expect(stored()).toHaveLength(TOKENS_MAX + SETTINGS.configured.length);
  });

  test("that has just expired is reported even if it is replaced at once", async () => {
    const rig = new Rig();
    await rig.create("short", { expires_in_ms: HOUR_MS });
    const names = Array.from({ length: TOKENS_MAX - 1 }, (_, i) => `t${i}`);
    await Promise.all(names.map((name) => rig.create(name)));
    rig.clock.stall(HOUR_MS);
    await rig.create("more");
    rig.clock.advance(1000);
    expect(rig.ended).toEqual(["short"]);
  });

  test("is not created if the database refuses it, and stays valid if its revocation is refused", async () => {
    const rig = new Rig();
    const { id, secret } = await rig.create("hill");
    refuseWrites(rig.db, true);
    expect(await rig.create("more").catch(String)).toContain("readonly");
    expect(await rig.tokens.revoke(id).catch(String)).toContain("readonly");
    expect(rig.tokens.list()).toHaveLength(SETTINGS.configured.length + 1);
    expect(rig.name("push", secret)).toBe("hill");
  });

  test("records to the minute when it was last used, and stores that once the disk accepts it", async () => {
    const rig = new Rig();
    const { secret } = await rig.create("hill");
    const usedAt = (): unknown => rig.tokens.list().at(-1)?.last_used_at;
    expect(usedAt()).toBeNull();
    rig.clock.advance(90_000);
    rig.name("push", secret);
    const minute = rig.clock.nowMs() - (rig.clock.nowMs() % 60_000);
    expect(usedAt()).toBe(minute);
    refuseWrites(rig.db, true);
    rig.clock.advance(60_000);
    expect(rig.log.count("the database refuses writes")).toBe(1);
    refuseWrites(rig.db, false);
    await rig.tokens.stop();
    rig.restart();
    expect(usedAt()).toBe(minute);
  });
});

describe("a token's limits (H5)", () => {
  const limited = async (nodes: string[], groups: string[]) => {
    const rig = new Rig();
    return rig.tokens.find("push", (await rig.create("t", { nodes, groups })).secret)!;
  };

  test.each([
    [[], [], "hill", null, true],
    [["radar*"], [], "radar3", null, true],
    [["radar*"], [], "mast", null, false],
    [["radar*", "mast"], [], "mast", null, true],
    [[], ["north"], "hill", "north", true],
    [[], ["north"], "hill", "south", false],
    [[], ["north"], "hill", null, false],
    [["radar*"], ["north"], "radar3", "south", false],
    [["radar*"], ["north"], "mast", "north", false],
  ])("%p in groups %p, for %p of group %p: %p", async (nodes, groups, node, group, expected) => {
    expect(isTokenFor(await limited(nodes, groups), node, group)).toBe(expected);
  });
});

describe("a request for a token", () => {
  const isValid = (request: unknown): boolean =>
    createTokenRequestSchema.safeParse(request).success;

  test("needs a role for an operator, and allows nodes and groups for the other kinds only", () => {
    expect(isValid({ name: "a", kind: "operator", role: "viewer" })).toBe(true);
    expect(isValid({ name: "a", kind: "operator" })).toBe(false);
    expect(isValid({ name: "a", kind: "push", role: "viewer" })).toBe(false);
    expect(isValid({ name: "a", kind: "operator", role: "viewer", nodes: ["*"] })).toBe(false);
    expect(isValid({ name: "a", kind: "operator", role: "viewer", groups: ["g"] })).toBe(false);
  });

  test("has a valid name, patterns that ids can match, and a bounded lifetime", () => {
    for (const name of ["", "env:FLEET_PUSH_TOKEN", "a b", "-a", "x".repeat(65)])
      expect(isValid({ name, kind: "push" })).toBe(false);
    for (const node of ["", "a.b", "a/b", "x".repeat(65)])
      expect(isValid({ name: "a", kind: "push", nodes: [node] })).toBe(false);
    for (const expires of [0, -1, 1.5, 1e15])
      expect(isValid({ name: "a", kind: "push", expires_in_ms: expires })).toBe(false);
    expect(isValid({ name: "a", kind: "push", nodes: ["*"], expires_in_ms: 1 })).toBe(true);
  });
});
