import { describe, expect, test } from "bun:test";
import { FakeClock } from "@fleet/daemon/testing";
import { AuthFailures, FAILURES_MAX } from "./failures.ts";

const LONG = "x".repeat(32);
const SHORT = "secret";

function failed(address: string, times: number): { failures: AuthFailures; clock: FakeClock } {
  const clock = new FakeClock();
  const failures = new AuthFailures(clock);
  for (let i = 0; i < times; i++) failures.add(address);
  return { failures, clock };
}

describe("an address that shows wrong tokens (H5)", () => {
  test("has to wait after the most a minute may have, until the minute is over", () => {
    const { failures, clock } = failed("192.0.2.1", FAILURES_MAX - 1);
    expect(failures.waitMs("192.0.2.1", SHORT)).toBeUndefined();
    clock.advance(10_000);
    failures.add("192.0.2.1");
    expect(failures.waitMs("192.0.2.1", SHORT)).toBe(50_000);
    clock.advance(49_999);
    expect(failures.waitMs("192.0.2.1", SHORT)).toBe(1);
    clock.advance(1);
    expect(failures.waitMs("192.0.2.1", SHORT)).toBeUndefined();
    failures.add("192.0.2.1");
    expect(failures.waitMs("192.0.2.1", SHORT)).toBeUndefined();
  });

  test("waits with tokens that can be guessed, and not with others: somebody else may live behind it", () => {
    const { failures } = failed("192.0.2.1", FAILURES_MAX);
    expect(failures.waitMs("192.0.2.1", SHORT)).toBe(60_000);
    expect(failures.waitMs("192.0.2.1", LONG)).toBeUndefined();
    expect(failures.limitedMs("192.0.2.1")).toBe(60_000);
  });

  test.each([
    ["192.0.2.1", "192.0.2.2", false],
    ["192.0.2.1", "::ffff:192.0.2.1", true],
    ["2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true],
    ["2001:db8:1:2::1", "2001:db8:1:3::1", false],
    ["2001:db8::1", "2001:db8:0:0:5::", true],
    ["::1", "0:0:0:0:1::", true],
    ["fe80::1%eth0", "fe80::2%eth1", true],
  ])("%s and %s are the same one: %p", (one, other, same) => {
    const { failures } = failed(one, FAILURES_MAX);
    expect(failures.limitedMs(other) !== undefined).toBe(same);
  });

  test("is forgotten when ten thousand others have come after it", () => {
    const { failures } = failed("192.0.2.1", FAILURES_MAX);
    for (let i = 0; i < 9999; i++) failures.add(`10.0.${i >> 8}.${i & 255}`);
    expect(failures.limitedMs("192.0.2.1")).toBe(60_000);
    failures.add("10.1.0.0");
    expect(failures.limitedMs("192.0.2.1")).toBeUndefined();
  });
});
