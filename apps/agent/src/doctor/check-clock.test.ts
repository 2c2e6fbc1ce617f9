import { describe, expect, test } from "bun:test";
import type { CoordinatorHealth } from "./check-coordinator.ts";
import { checkClock } from "./check-clock.ts";
import type { Whoami } from "./check-tokens.ts";

const SENT_MS = 1_783_500_000_000;

function asked(aheadMs: number, tookMs: number): Whoami {
  const answer = {
    kind: "enroll",
    protocol: 1,
    version: "1",
    // Written halfway through the request.
    server_time_ms: SENT_MS + tookMs / 2 + aheadMs,
    frames: { host: "h", port: 1, tls: false },
  } as const;
  return { answer, sentMs: SENT_MS, tookMs };
}

const health = (serverDateMs?: number): CoordinatorHealth => ({
  sentMs: SENT_MS,
  tookMs: 100,
  serverDateMs,
});

describe("the clock (A9)", () => {
  test.each([
    [0, 0, "ok"],
    [1000, 0, "ok"],
    [1001, 0, "warn"],
    [-1001, 0, "warn"],
    [30_000, 0, "warn"],
    [30_001, 0, "fail"],
    [-30_001, 0, "fail"],
    // An offset within half the round trip is not a problem.
    [1500, 1000, "ok"],
    [1501, 1000, "warn"],
    [30_500, 1000, "warn"],
  ])("off by %p ms, asked within %p ms, is %p", (aheadMs, tookMs, status) => {
    expect(checkClock(asked(aheadMs, tookMs), health())).toMatchObject([
      { id: "clock", status, data: { offset_ms: aheadMs, error_ms: tookMs / 2 } },
    ]);
  });

  test("is reported as behind or ahead, with the error", () => {
    const say = (aheadMs: number) => checkClock(asked(aheadMs, 20), health())[0]?.message;
    expect(say(2500)).toBe("2.500 s ± 0.010 s behind the coordinator's");
    expect(say(-2500)).toBe("2.500 s ± 0.010 s ahead of the coordinator's");
  });

  test("is compared with the date of the first answer, to the second, when no token was taken", () => {
    expect(checkClock(undefined, health(SENT_MS))).toMatchObject([
      { status: "ok", data: { offset_ms: 450, error_ms: 550 } },
    ]);
    expect(checkClock(undefined, health(SENT_MS + 60_000))).toMatchObject([{ status: "fail" }]);
    expect(checkClock(undefined, health())).toEqual([]);
  });
});
