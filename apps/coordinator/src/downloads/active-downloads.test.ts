import { expect, test } from "bun:test";
import { FakeClock } from "@fleet/daemon/testing";
import { ActiveDownloads } from "./active-downloads.ts";

test("a download above the limit is refused until another one has ended (H8)", () => {
  const downloads = new ActiveDownloads(new FakeClock(), 2);
  const open = [true, true];
  const ended: number[] = [];
  for (const n of [0, 1]) downloads.begin(() => open[n]!)!.onEnd(() => ended.push(n));
  expect(downloads.begin(() => true)).toBeUndefined();
  expect([downloads.count, ended]).toEqual([2, []]);
  open[1] = false;
  expect(downloads.begin(() => true)).toBeDefined();
  expect([downloads.count, ended]).toEqual([2, [1]]);
});

test("listeners are called within a second of a download's end, and no timer runs without downloads", async () => {
  const clock = new FakeClock();
  const downloads = new ActiveDownloads(clock, 2);
  let isOpen = true;
  let ends = 0;
  downloads.begin(() => isOpen)!.onEnd(() => ends++);
  clock.advance(10_000);
  expect([ends, clock.timers]).toEqual([0, 1]);
  isOpen = false;
  clock.advance(1000);
  expect([ends, downloads.count, clock.timers]).toEqual([1, 0, 0]);
  downloads.begin(() => true)!.onEnd(() => ends++);
  await downloads.stop();
  clock.advance(10_000);
  expect([ends, downloads.count, clock.timers]).toEqual([2, 0, 0]);
});

test("a listener added after the end of a download is called at once", () => {
  const downloads = new ActiveDownloads(new FakeClock(), 1);
  let isOpen = true;
  const gone = downloads.begin(() => isOpen)!;
  isOpen = false;
  expect(downloads.begin(() => true)).toBeDefined();
  let ends = 0;
  gone.onEnd(() => ends++);
  expect(ends).toBe(1);
});
