import { describe, expect, test } from "bun:test";
import { FakeClock } from "./fake-clock.ts";
import { Keepalive } from "./keepalive.ts";

function setUp() {
  const clock = new FakeClock();
  const idleAt: number[] = [];
  const deadAt: number[] = [];
  const keepalive = new Keepalive({
    clock,
    idleMs: 10,
    deadMs: 30,
    onIdle: () => idleAt.push(clock.monotonicMs()),
    onDead: () => deadAt.push(clock.monotonicMs()),
  });
  return { clock, keepalive, idleAt, deadAt };
}

describe("a keepalive", () => {
  test("reports idle periods, and a dead peer, to the millisecond", () => {
    const { clock, idleAt, deadAt } = setUp();
    clock.advance(29);
    expect([idleAt, deadAt]).toEqual([[10, 20], []]);
    clock.advance(1);
    expect(deadAt).toEqual([30]);
    clock.advance(1000);
    expect([idleAt, deadAt]).toEqual([[10, 20], [30]]);
    expect(clock.timers).toBe(0);
  });

  test("counts from the last message sent and received", () => {
    const { clock, keepalive, idleAt, deadAt } = setUp();
    clock.advance(9);
    keepalive.sent();
    keepalive.received();
    clock.advance(9);
    expect(idleAt).toEqual([]);
    clock.advance(1);
    expect(idleAt).toEqual([19]);
    clock.advance(19);
    expect(deadAt).toEqual([]);
    clock.advance(1);
    expect(deadAt).toEqual([39]);
  });

  test("does not count silence while not reading, still reports idle periods, and counts from zero afterwards", () => {
    const { clock, keepalive, idleAt, deadAt } = setUp();
    clock.advance(25);
    keepalive.setReading(false);
    clock.advance(75);
    expect(deadAt).toEqual([]);
    expect(idleAt).toHaveLength(10);
    keepalive.setReading(true);
    clock.advance(29);
    keepalive.setReading(true);
    expect(deadAt).toEqual([]);
    clock.advance(1);
    expect(deadAt).toEqual([130]);
  });

  test("has one timer for any traffic, and none after a stop", () => {
    const { clock, keepalive, idleAt, deadAt } = setUp();
    for (let n = 0; n < 100; n++) {
      keepalive.sent();
      keepalive.received();
    }
    expect(clock.timers).toBe(1);
    keepalive.stop();
    clock.advance(1000);
    expect([idleAt, deadAt]).toEqual([[], []]);
  });

  test("can be stopped in onIdle", () => {
    const clock = new FakeClock();
    const dead: number[] = [];
    const keepalive: Keepalive = new Keepalive({
      clock,
      idleMs: 10,
      deadMs: 30,
      onIdle: () => keepalive.stop(),
      onDead: () => dead.push(1),
    });
    clock.advance(100);
    expect([dead, clock.timers]).toEqual([[], 0]);
  });
});
