import { expect, test } from "bun:test";
import { FakeClock } from "@fleet/daemon/testing";
import { Uptime } from "./uptime.ts";

test("continues from earlier runs, with the monotonic clock and never with the wall clock (R4, R5)", () => {
  const clock = new FakeClock();
  const uptime = new Uptime(clock, 2000);
  uptime.start(5000);
  clock.jumpWall(1e12);
  clock.advance(1500);
  expect([uptime.startedMs, uptime.nowMs]).toEqual([5000, 6500]);
  expect(uptime.look()).toBe(0);
  clock.jumpWall(-1e13);
  clock.advance(2000);
  expect(uptime.nowMs).toBe(8500);
});

test("stands still beyond the longest step between two looks, and returns how long that was", () => {
  const clock = new FakeClock();
  const uptime = new Uptime(clock, 2000);
  clock.advance(600_000);
  expect(uptime.nowMs).toBe(2000);
  expect(uptime.look()).toBe(598_000);
  expect(uptime.nowMs).toBe(2000);
  clock.advance(1000);
  expect(uptime.nowMs).toBe(3000);
});
