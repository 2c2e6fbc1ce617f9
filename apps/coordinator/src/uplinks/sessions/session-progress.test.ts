import { expect, test } from "bun:test";
import { nodeIdSchema, type SpoolId, streamIdSchema } from "@fleet/protocol";
import { FakeClock } from "@fleet/daemon/testing";
import { Counts } from "@fleet/daemon";
import { MEMORY, openDb } from "../../db/open.ts";
import { HILL, RADAR, Rig } from "../../registry/testing.ts";
import { RecordingLog, refuseWrites } from "../../testing.ts";
import { FrameQueue } from "../../trackers/feed/frame-queue.ts";
import type { Tracker } from "../../trackers/tracker.ts";
import { Session } from "./session.ts";
import { ProgressStore } from "./stream-progress.ts";
import { frame, lines } from "../testing.ts";

/** A session on a queue whose socket accepts `writes` pieces. */
function sessionOn(writes: number) {
  const clock = new FakeClock();
  const store = new ProgressStore(openDb(MEMORY).db, clock, new RecordingLog());
  const progress = store.open(streamIdSchema.parse("n.s"), "spool" as SpoolId, 1);
  const queue = new FrameQueue();
  let left = writes;
  queue.connect({ write: (bytes) => (left-- > 0 ? bytes.length : 0), end: () => {} });
  const session = new Session({
    nodeId: nodeIdSchema.parse("n"),
    link: { send: () => {}, pause: () => {}, resume: () => {}, end: () => {}, onDead: () => {} },
    clock,
    tracker: { queue, detach: () => {}, offer: queue.write.bind(queue) } as unknown as Tracker,
    progress,
    store,
    counts: new Counts(),
    firstSeq: 1,
  });
  return { session, progress };
}

test("a re-encoded frame is not counted as accepted with the lines before it (T8)", () => {
  const { session, progress } = sessionOn(1);
  const chunk = Buffer.from(lines(frame(1), frame(2), frame(3, { name: "Zürich" }), frame(4)));
  session.data(chunk);
  expect(progress).toMatchObject({ enqueued: 4, accepted: 2 });
});

test("progress of removed nodes is forgotten, even when the removal could not be written before a restart (R4)", async () => {
  const { db } = openDb(MEMORY);
  const rig = new Rig({}, { db });
  const [mine, other] = [streamIdSchema.parse("radar3.s"), streamIdSchema.parse("hill.s")];
  const newStore = (): ProgressStore => {
    const store = new ProgressStore(db, rig.clock, rig.log);
    store.start();
    return store;
  };
  const accepted = (store: ProgressStore): number[] =>
    [mine, other].map((stream) => store.open(stream, "spool" as SpoolId, 1).accepted);
  const first = newStore();
  for (const [id, stream] of [
    [RADAR, mine],
    [HILL, other],
  ] as const) {
    await rig.register("i1", id);
    first.accept(first.open(stream, "spool" as SpoolId, 1), 7);
  }
  first.flush();
  await rig.registry.remove(RADAR);
  refuseWrites(db, true);
  first.forget(new Set([RADAR]));
  expect([accepted(first), first.isFailing]).toEqual([[0, 7], true]);
  refuseWrites(db, false);
  expect(accepted(newStore())).toEqual([0, 7]);
});

test("is known to be writable again once the disk accepts writes, even with nothing to write", () => {
  const { db } = openDb(MEMORY);
  const store = new ProgressStore(db, new FakeClock(), new RecordingLog());
  refuseWrites(db, true);
  store.forget(new Set([RADAR]));
  expect(store.isFailing).toBe(true);
  refuseWrites(db, false);
  store.flush();
  expect(store.isFailing).toBe(false);
});
