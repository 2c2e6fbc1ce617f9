import { expect, test } from "bun:test";
import { LineDecoder, nodeIdSchema, type SpoolId, streamIdSchema } from "@fleet/protocol";
import { FakeClock } from "@fleet/daemon/testing";
import { Counts } from "../counts.ts";
import { MEMORY, openDb } from "../db/open.ts";
import { RecordingLog } from "../testing.ts";
import { Receiver } from "../trackers/receiver.ts";
import type { Tracker } from "../trackers/tracker.ts";
import { Session } from "./session.ts";
import { ProgressStore } from "./stream-progress.ts";
import { frame, lines } from "./testing.ts";

/** A session on a feed whose socket takes `writes` pieces and no more. */
function sessionOn(writes: number) {
  const clock = new FakeClock();
  const store = new ProgressStore(openDb(MEMORY).db, clock, new RecordingLog());
  const progress = store.open(streamIdSchema.parse("n.s"), "spool" as SpoolId, 1);
  const receiver = new Receiver();
  let left = writes;
  receiver.connect({ write: (bytes) => (left-- > 0 ? bytes.length : 0), end: () => {} });
  const session = new Session({
    nodeId: nodeIdSchema.parse("n"),
    link: { send: () => {}, pause: () => {}, resume: () => {}, end: () => {}, dead: () => {} },
    clock,
    tracker: { receiver, detach: () => {}, sawFrames: () => {} } as unknown as Tracker,
    progress,
    store,
    counts: new Counts(),
    firstSeq: 1,
  });
  return { session, progress };
}

test("a frame that was re-encoded is not taken for accepted with the run of lines before it (T8)", () => {
  const { session, progress } = sessionOn(1);
  const chunk = Buffer.from(lines(frame(1), frame(2), frame(3, { name: "Zürich" }), frame(4)));
  session.data(chunk, new LineDecoder());
  expect(progress).toMatchObject({ enqueued: 4, accepted: 2 });
});
