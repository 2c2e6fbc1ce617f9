import { describe, expect, test } from "bun:test";
import { FakeClock } from "@fleet/daemon/testing";
import { Bus } from "../bus.ts";
import { Committer } from "../db/commit.ts";
import { MEMORY, openDb } from "../db/open.ts";
import { configuredTokens, instanceId, nodeId, RecordingLog } from "../testing.ts";
import { Auth } from "./auth.ts";
import type { TokenSettings } from "./tokens.ts";
import { FAILURES_MAX } from "./throttle.ts";

const CLAIMS = { nodeId: nodeId("radar3"), instanceId: instanceId("i1"), epoch: 4 };
const SETTINGS = configuredTokens({ enroll: "enroll", push: "push", operator: "operator" });

function made(settings: TokenSettings = SETTINGS): { auth: Auth; log: RecordingLog } {
  const log = new RecordingLog();
  const { db } = openDb(MEMORY);
  const commits = new Committer(db, log, new Bus());
  return {
    log,
    auth: new Auth({ db, commits, dataDir: MEMORY, clock: new FakeClock(), log, tokens: settings }),
  };
}

describe("identify (A9, H5)", () => {
  test("returns the kind and bearer of a valid token, and undefined for any other", async () => {
    const { auth } = made();
    const { accessToken, refreshToken } = await auth.credentials.issue(CLAIMS);
    const { nodeId: radar3 } = CLAIMS;
    expect(await auth.identify(accessToken)).toMatchObject({ kind: "access", nodeId: radar3 });
    expect(await auth.identify(refreshToken)).toMatchObject({ kind: "refresh", nodeId: radar3 });
    for (const kind of ["enroll", "push", "operator"] as const)
      expect(await auth.identify(kind)).toMatchObject({ kind, nodeId: undefined });
    expect((await auth.identify("operator"))?.role).toBe("admin");
    for (const token of [undefined, "", "nonsense", accessToken.slice(0, -2)])
      expect(await auth.identify(token)).toBeUndefined();
  });

  test("takes any other token as an enrolment token with insecure-dev and none configured", async () => {
    const { auth } = made({ ...configuredTokens({ push: "push" }), insecureDev: true });
    for (const token of [undefined, "any"])
      expect(await auth.identify(token)).toMatchObject({ kind: "enroll", nodeId: undefined });
    expect(await auth.identify("push")).toMatchObject({ kind: "push" });
  });
});

test("wrong tokens are counted per port and logged once a minute per address (H5)", () => {
  const { auth, log } = made();
  for (let i = 0; i < FAILURES_MAX; i++) auth.addFailure("192.0.2.1", "http");
  auth.addFailure("192.0.2.2", "frames");
  expect(auth.waitMs("192.0.2.1", "short", "http")).toBe(60_000);
  expect(auth.waitMs("192.0.2.2", "short", "http")).toBeUndefined();
  expect(Object.fromEntries(auth.refused.entries())).toEqual({
    http: FAILURES_MAX,
    http_limited: 1,
    frames: 1,
  });
  expect(log.lines.filter((l) => l.message === "wrong token").map((l) => l.fields)).toEqual([
    { address: "192.0.2.1", where: "http", held_back: 0 },
    { address: "192.0.2.2", where: "frames", held_back: 0 },
  ]);
});
