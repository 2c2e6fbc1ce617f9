import { describe, expect, test } from "bun:test";
import fc from "fast-check";

import { sleep } from "./clock.ts";
import { FakeClock } from "./fake-clock.ts";

describe("a fake clock", () => {
  test("moves only when advanced, both times together", () => {
    const clock = new FakeClock(5000);
    expect([clock.monotonicMs(), clock.nowMs()]).toEqual([0, 5000]);
    clock.advance(7);
    expect([clock.monotonicMs(), clock.nowMs()]).toEqual([7, 5007]);
    clock.jumpWall(-1000);
    expect([clock.monotonicMs(), clock.nowMs()]).toEqual([7, 4007]);
    expect(() => clock.advance(-1)).toThrow(RangeError);
    expect(() => clock.advance(Number.NaN)).toThrow(RangeError);
  });

  test("fires timers in order of time, then of creation, each at its own time", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: -5, max: 50 }), { maxLength: 30 }),
        fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 10 }),
        (delays, steps) => {
          const clock = new FakeClock();
          const fired: (readonly [number, number])[] = [];
          for (const [i, delay] of delays.entries())
            clock.after(delay, () => fired.push([clock.monotonicMs(), i]));
          for (const step of steps) clock.advance(step);
          const passed = steps.reduce((a, b) => a + b, 0);
          const due = delays
            .map((delay, i) => [Math.max(0, delay), i] as const)
            .filter(([at]) => steps.length > 0 && at <= passed)
            .toSorted(([a, i], [b, j]) => a - b || i - j);
          expect(fired).toEqual(due);
          expect(clock.timers).toBe(delays.length - due.length);
        },
      ),
    );
  });

  test("fires due timers that other timers set, and not those they cancel", () => {
    const clock = new FakeClock();
    const fired: string[] = [];
    const doomed = clock.after(20, () => fired.push("doomed"));
    clock.after(10, () => {
      doomed.cancel();
      clock.after(5, () => fired.push("in time"));
      clock.after(50, () => fired.push("later"));
    });
    clock.advance(30);
    expect(fired).toEqual(["in time"]);
  });

  test("does not go back when a timer advances it", () => {
    const clock = new FakeClock();
    clock.after(5, () => clock.advance(100));
    clock.advance(10);
    expect(clock.monotonicMs()).toBe(105);
  });

  test("lets promises settle between timers in `run`", async () => {
    const clock = new FakeClock();
    const woken: number[] = [];
    void (async () => {
      for (let i = 0; i < 3; i++) {
        await sleep(clock, 10);
        woken.push(clock.monotonicMs());
      }
    })();
    await clock.run(25);
    expect([woken, clock.monotonicMs()]).toEqual([[10, 20], 25]);
  });
});
