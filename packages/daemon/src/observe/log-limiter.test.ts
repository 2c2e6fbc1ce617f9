import { describe, expect, test } from "bun:test";
import { FakeClock } from "../time/fake-clock.ts";
import { LogLimiter } from "./log-limiter.ts";

describe("a log limiter", () => {
  test("lets one line of each key through a minute, and reports how many it held back", () => {
    const clock = new FakeClock();
    const limiter = new LogLimiter(clock);
    expect([limiter.pass("a"), limiter.pass("a"), limiter.pass("b"), limiter.pass("a")]).toEqual([
      0,
      undefined,
      0,
      undefined,
    ]);
    clock.advance(59_999);
    expect(limiter.pass("a")).toBeUndefined();
    clock.advance(1);
    expect([limiter.pass("a"), limiter.pass("a"), limiter.pass("b")]).toEqual([3, undefined, 0]);
  });

  test("tracks 1024 keys; further ones are held back until a minute has passed", () => {
    const clock = new FakeClock();
    const limiter = new LogLimiter(clock);
    for (let n = 0; n < 1024; n++) expect(limiter.pass(`k${n}`)).toBe(0);
    expect(limiter.pass("one more")).toBeUndefined();
    clock.advance(60_000);
    expect([limiter.pass("one more"), limiter.pass("k1"), limiter.pass("k0")]).toEqual([0, 0, 0]);
  });
});
