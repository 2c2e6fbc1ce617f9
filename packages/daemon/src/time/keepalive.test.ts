import { describe, expect, test } from "bun:test";
import { FakeClock } from "./fake-clock.ts";
import { Keepalive } from "./keepalive.ts";

function setUp() {
  const clock = new FakeClock();
  const quietAt: number[] = [];
  const deadAt: number[] = [];
  const keepalive = new Keepalive({
    clock,
    quietMs: 10,
    deadMs: 30,
    onQuiet: () => quietAt.push(clock.monotonicMs()),
    onDead: () => deadAt.push(clock.monotonicMs()),
  });
  return { clock, keepalive, quietAt, deadAt };
}

describe("a keepalive", () => {
  test("speaks each time it was quiet for long, and gives up a peer that was not heard, to the millisecond", () => {
    const { clock, quietAt, deadAt } = setUp();
    clock.advance(29);
    expect([quietAt, deadAt]).toEqual([[10, 20], []]);
    clock.advance(1);
    expect(deadAt).toEqual([30]);
    clock.advance(1000);
    expect([quietAt, deadAt]).toEqual([[10, 20], [30]]);
    expect(clock.timers).toBe(0);
  });

  test("counts from what was said and heard last", () => {
    const { clock, keepalive, quietAt, deadAt } = setUp();
    clock.advance(9);
    keepalive.said();
    keepalive.heard();
    clock.advance(9);
    expect(quietAt).toEqual([]);
    clock.advance(1);
    expect(quietAt).toEqual([19]);
    clock.advance(19);
    expect(deadAt).toEqual([]);
    clock.advance(1);
    expect(deadAt).toEqual([39]);
  });

  test("does not blame the peer for what is not read, goes on speaking, and counts from anew afterwards", () => {
    const { clock, keepalive, quietAt, deadAt } = setUp();
    clock.advance(25);
    keepalive.listens(false);
    clock.advance(75);
    expect(deadAt).toEqual([]);
    expect(quietAt).toHaveLength(10);
    keepalive.listens(true);
    clock.advance(29);
    keepalive.listens(true);
    expect(deadAt).toEqual([]);
    clock.advance(1);
    expect(deadAt).toEqual([130]);
  });

  test("has one timer, however much is said, and none once it is stopped", () => {
    const { clock, keepalive, quietAt, deadAt } = setUp();
    for (let n = 0; n < 100; n++) {
      keepalive.said();
      keepalive.heard();
    }
    expect(clock.timers).toBe(1);
    keepalive.stop();
    clock.advance(1000);
    expect([quietAt, deadAt]).toEqual([[], []]);
  });

  test("may be stopped while it speaks", () => {
    const clock = new FakeClock();
    const dead: number[] = [];
    const keepalive: Keepalive = new Keepalive({
      clock,
      quietMs: 10,
      deadMs: 30,
      onQuiet: () => keepalive.stop(),
      onDead: () => dead.push(1),
    });
    clock.advance(100);
    expect([dead, clock.timers]).toEqual([[], 0]);
  });
});
