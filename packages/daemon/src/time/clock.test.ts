import { describe, expect, test } from "bun:test";

import { every, sleep, systemClock } from "./clock.ts";
import { FakeClock, settle } from "./fake-clock.ts";

describe("the host's clock", () => {
  test("has a monotonic time that does not decrease, and a wall-clock time in Unix ms", () => {
    const first = systemClock.monotonicMs();
    expect(systemClock.monotonicMs()).toBeGreaterThanOrEqual(first);
    expect(Math.abs(systemClock.nowMs() - new Date().getTime())).toBeLessThan(1000);
  });

  test("does not fire a cancelled timer, nor one beyond the range of a host timer", async () => {
    const fired: string[] = [];
    const far = systemClock.after(Number.MAX_SAFE_INTEGER, () => fired.push("far"));
    const near = systemClock.after(0, () => fired.push("cancelled"));
    near.cancel();
    near.cancel();
    await sleep(systemClock, 1);
    far.cancel();
    expect(fired).toEqual([]);
  });

  test("treats a negative delay as 0", async () => {
    const fired = Promise.withResolvers<void>();
    const timer = systemClock.after(-5, fired.resolve);
    await fired.promise;
    timer.cancel();
  });
});

describe("sleep", () => {
  test("ends after its delay, not before, and leaves no listener on the signal", async () => {
    const clock = new FakeClock();
    const controller = new AbortController();
    let awake = false;
    const slept = sleep(clock, 100, controller.signal).then(() => (awake = true));
    await clock.run(99);
    expect(awake).toBe(false);
    clock.advance(1);
    await slept;
    controller.abort();
    expect(clock.timers).toBe(0);
  });

  test("rejects with the signal's reason when aborted before or during the sleep, and drops its timer", async () => {
    const clock = new FakeClock();
    const controller = new AbortController();
    const reason = new Error("enough");
    const meanwhile = sleep(clock, 100, controller.signal).catch((error: unknown) => error);
    controller.abort(reason);
    expect(await meanwhile).toBe(reason);
    expect(await sleep(clock, 100, controller.signal).catch((error: unknown) => error)).toBe(
      reason,
    );
    expect(clock.timers).toBe(0);
  });
});

describe("every", () => {
  test("calls once per period, first after one period, until it is cancelled", () => {
    const clock = new FakeClock();
    const calls: number[] = [];
    const timer = every(clock, 10, () => void calls.push(clock.monotonicMs()));
    clock.advance(35);
    expect(calls).toEqual([10, 20, 30]);
    timer.cancel();
    clock.advance(100);
    expect([calls.length, clock.timers]).toEqual([3, 0]);
  });

  test("waits for a slow call, so calls never overlap", async () => {
    const clock = new FakeClock();
    const calls: number[] = [];
    every(clock, 10, async () => {
      calls.push(clock.monotonicMs());
      await sleep(clock, 25);
    });
    await clock.run(100);
    expect(calls).toEqual([10, 45, 80]);
  });

  test("can be cancelled from inside a call, slow or not", async () => {
    for (const slow of [true, false]) {
      const clock = new FakeClock();
      let calls = 0;
      const timer = every(clock, 10, () => {
        calls++;
        timer.cancel();
        return slow ? Promise.resolve() : undefined;
      });
      await clock.run(100);
      expect([calls, clock.timers]).toEqual([1, 0]);
    }
  });

  test("continues after a call that throws or rejects, and reports the error", async () => {
    const clock = new FakeClock();
    const errors: unknown[] = [];
    let calls = 0;
    every(
      clock,
      10,
      () => {
        calls++;
        if (calls === 1) throw new Error("thrown");
        if (calls === 2) return Promise.reject(new Error("rejected"));
        return undefined;
      },
      (error) => errors.push(error),
    );
    await clock.run(30);
    await settle();
    expect(calls).toBe(3);
    expect(errors.map(String)).toEqual(["Error: thrown", "Error: rejected"]);
  });
});
