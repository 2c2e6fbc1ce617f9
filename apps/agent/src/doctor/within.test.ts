import { expect, test } from "bun:test";
import { FakeClock } from "@fleet/daemon/testing";
import { within } from "./within.ts";

test("a result in time is returned, a late one is abandoned, and no timer is left (A9)", async () => {
  const clock = new FakeClock();
  expect(await within(clock, 10, Promise.resolve(7))).toBe(7);
  const failing = within(clock, 10, Promise.reject(new Error("no")));
  expect(await failing.catch(String)).toBe("Error: no");
  const never = within(clock, 10, new Promise<number>(() => {}));
  clock.advance(10);
  expect(await never).toBeUndefined();
  expect(clock.timers).toBe(0);
});
