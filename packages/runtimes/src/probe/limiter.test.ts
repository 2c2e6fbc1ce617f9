import { expect, test } from "bun:test";
import { Limiter } from "./limiter.ts";
import { makeTestClock } from "../test-image.ts";

test("A4: no more tasks run than there are slots, in FIFO order", async () => {
  const limiter = new Limiter(2, 250, makeTestClock());
  const started: number[] = [];
  const ends = [0, 1, 2, 3].map(() => Promise.withResolvers<void>());
  const running = ends.map(({ promise }, index) =>
    limiter.run(() => {
      started.push(index);
      return promise;
    }),
  );
  expect(started).toEqual([0, 1]);
  ends[1]?.resolve();
  await running[1];
  expect(started).toEqual([0, 1, 2]);
  for (const { resolve } of ends) resolve();
  await Promise.all(running);
  expect(started).toEqual([0, 1, 2, 3]);
});

test("A4: a slow task gives up its slot, only once", async () => {
  const clock = makeTestClock();
  const limiter = new Limiter(1, 250, clock);
  const long = Promise.withResolvers<void>();
  const next = Promise.withResolvers<void>();
  const started: string[] = [];
  const start = (name: string, promise: Promise<void>): Promise<void> =>
    limiter.run(() => {
      started.push(name);
      return promise;
    });
  const ends = [start("long", long.promise), start("next", next.promise)];
  clock.fire();
  await Promise.resolve();
  expect(started).toEqual(["long", "next"]);
  ends.push(start("last", Promise.resolve()));
  long.resolve();
  await ends[0];
  expect(started).toEqual(["long", "next"]);
  next.resolve();
  await Promise.all(ends);
  expect(started).toEqual(["long", "next", "last"]);
});
