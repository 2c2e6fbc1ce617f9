import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { StreamId } from "@fleet/protocol";
import { MEMORY, openDb } from "../db/open.ts";
import { RecordingLog, refuseWrites } from "../testing.ts";
import { type TrackerRow, TrackerStore } from "./tracker-store.ts";

const ID = "n.s" as StreamId;
const ROW: TrackerRow = {
  streamId: ID,
  source: "auto",
  port: 31_000,
  run: 0,
  pid: null,
  pidStart: null,
  bootId: null,
  createdAt: 1,
  lastFrameAt: null,
  token: null,
};

let opened: ReturnType<typeof openDb>;
let log: RecordingLog;
let store: TrackerStore;
beforeEach(() => {
  opened = openDb(MEMORY);
  log = new RecordingLog();
  store = new TrackerStore(opened.db, log);
});
afterEach(() => opened.close());

describe("a disk that refuses tracker rows (T5)", () => {
  test("receives the changes once it accepts writes again, and is logged once", () => {
    store.insert([ROW]);
    refuseWrites(opened.db, true);
    store.update(ID, { run: 1, pid: 10 });
    store.update(ID, { pid: 11 });
    expect(store.all()).toEqual([ROW]);
    refuseWrites(opened.db, false);
    store.flush();
    expect(store.all()).toEqual([{ ...ROW, run: 1, pid: 11 }]);
    expect(log.count("writing tracker rows fails")).toBe(1);
    expect(log.count("writing tracker rows works again")).toBe(1);
  });

  test("receives rows that were new then in their present form", () => {
    refuseWrites(opened.db, true);
    store.insert([ROW]);
    store.update(ID, { run: 1 });
    refuseWrites(opened.db, false);
    store.flush();
    expect(store.all()).toEqual([{ ...ROW, run: 1 }]);
  });

  test("loses rows that were removed meanwhile, even when they are changed after that", () => {
    store.insert([ROW]);
    refuseWrites(opened.db, true);
    store.remove([ID]);
    store.update(ID, { run: 2 });
    refuseWrites(opened.db, false);
    store.flush();
    expect(store.all()).toEqual([]);
  });

  test("receives what it refused with the next change of another row, too", () => {
    const other = { ...ROW, streamId: "m.s" };
    store.insert([ROW, other]);
    refuseWrites(opened.db, true);
    store.update(ID, { run: 1 });
    refuseWrites(opened.db, false);
    store.update("m.s" as StreamId, { run: 5 });
    expect(new Map(store.all().map(({ streamId, run }) => [streamId, run]))).toEqual(
      new Map([
        ["n.s", 1],
        ["m.s", 5],
      ]),
    );
  });
});
