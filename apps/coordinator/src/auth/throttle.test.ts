import { describe, expect, test } from "bun:test";
import { FakeClock } from "@fleet/daemon/testing";
import { FAILURES_MAX, Throttle } from "./throttle.ts";

const LONG = "x".repeat(32);
const SHORT = "secret";

function failed(address: string, times: number): { throttle: Throttle; clock: FakeClock } {
  const clock = new FakeClock();
  const throttle = new Throttle(clock);
  for (let i = 0; i < times; i++) throttle.addFailure(address);
  return { throttle, clock };
}

describe("the throttle (H5)", () => {
  test("makes an address wait once it has reached the limit, until its minute is over", () => {
    const { throttle, clock } = failed("192.0.2.1", FAILURES_MAX - 1);
    expect(throttle.waitMs("192.0.2.1", SHORT)).toBeUndefined();
    clock.advance(10_000);
    throttle.addFailure("192.0.2.1");
    expect(throttle.waitMs("192.0.2.1", SHORT)).toBe(50_000);
    clock.advance(49_999);
    expect(throttle.waitMs("192.0.2.1", SHORT)).toBe(1);
    clock.advance(1);
    expect(throttle.waitMs("192.0.2.1", SHORT)).toBeUndefined();
    throttle.addFailure("192.0.2.1");
    expect(throttle.waitMs("192.0.2.1", SHORT)).toBeUndefined();
  });

  test("delays tokens that can be guessed and no others, since the address may be shared", () => {
    const { throttle } = failed("192.0.2.1", FAILURES_MAX);
    expect(throttle.waitMs("192.0.2.1", SHORT)).toBe(60_000);
    expect(throttle.waitMs("192.0.2.1", LONG)).toBeUndefined();
    expect(throttle.throttledMs("192.0.2.1")).toBe(60_000);
  });

  test.each([
    ["192.0.2.1", "192.0.2.2", false],
    ["192.0.2.1", "::ffff:192.0.2.1", true],
    ["2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true],
    ["2001:db8:1:2::1", "2001:db8:1:3::1", false],
    ["2001:db8::1", "2001:db8:0:0:5::", true],
    ["::1", "0:0:0:0:1::", true],
    ["fe80::1%eth0", "fe80::2%eth1", true],
  ])("counts %s and %s as one address: %p", (one, other, same) => {
    const { throttle } = failed(one, FAILURES_MAX);
    expect(throttle.throttledMs(other) !== undefined).toBe(same);
  });

  test("forgets an address after ten thousand newer ones", () => {
    const { throttle } = failed("192.0.2.1", FAILURES_MAX);
    for (let i = 0; i < 9999; i++) throttle.addFailure(`10.0.${i >> 8}.${i & 255}`);
    expect(throttle.throttledMs("192.0.2.1")).toBe(60_000);
    throttle.addFailure("10.1.0.0");
    expect(throttle.throttledMs("192.0.2.1")).toBeUndefined();
  });
});
