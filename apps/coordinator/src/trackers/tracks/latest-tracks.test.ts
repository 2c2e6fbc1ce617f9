import { describe, expect, test } from "bun:test";
import { readEvent, TRACKS_MAX, LatestTracks } from "./latest-tracks.ts";

const encoder = new TextEncoder();

function idOf(text: string): string | undefined {
  const bytes = encoder.encode(`before${text}\nafter`);
  return readEvent(bytes, 6, 6 + encoder.encode(text).length)?.trackId;
}

describe("an event line", () => {
  test.each([
    [`{"track_id":"260101-A1","length":3}`, "260101-A1"],
    [`{ "track_id" : "a b", "x":1 }`, "a b"],
    [`{"track_id":"a"}\r`, "a"],
    [`{"length":3,"detections":[],"track_id":"late"}`, "late"],
    [`{"track_id":"with \\"quotes\\""}`, 'with "quotes"'],
    [`{"track_id":"é"}`, "é"],
    [`{"track_id":"${"x".repeat(300)}"}`, "x".repeat(300)],
    [`{"track_id":"a","timestamp":3,"é":1}`, "a"],
  ])("%p is about track %p", (text, id) => {
    expect(idOf(text)).toBe(id);
  });

  test.each([
    "",
    "   ",
    "}",
    "hello}",
    "[1,2]",
    `{"track_id":7}`,
    `{"id":"a"}`,
    `{"track_id":"a"`,
    "null",
    "{}",
  ])("%p is no event", (text) => {
    expect(idOf(text)).toBeUndefined();
  });
});

describe("an event's frame", () => {
  const timeOf = (text: string): number | undefined =>
    readEvent(encoder.encode(text), 0, text.length)?.timestamp;

  test.each([
    [`{"track_id":"a","adsb_hex":null,"adsb_initialized":false,"timestamp":1783500000500,"n":1}`],
    [`{"track_id": "a", "timestamp": 1783500000500.0}`],
    [`{"detections":[{"timestamp":1}],"timestamp":1783500000500,"track_id":"a"}`],
    [`{"track_id":"a","detections":[{"timestamp":1}],"timestamp":1783500000500}`],
  ])("is known by its own time: %p", (text) => {
    expect(timeOf(text)).toBe(1_783_500_000_500);
  });

  test("is unknown when the tracker does not print it", () => {
    expect(timeOf(`{"track_id":"a","detections":[{"timestamp":1}]}`)).toBeUndefined();
    expect(timeOf(`{"track_id":"a","timestamp":"1"}`)).toBeUndefined();
  });
});

describe("the latest tracks of a stream (T9)", () => {
  function add(view: LatestTracks, id: string, run = 1, atMs = 0, extra = ""): void {
    const bytes = encoder.encode(`{"track_id":"${id}"${extra}}`);
    view.add(readEvent(bytes, 0, bytes.length)!, bytes, 0, run, atMs);
    bytes.fill(0);
  }

  test("is the latest event of each track, newest first, with its run, and copies what it keeps", () => {
    const view = new LatestTracks();
    add(view, "a", 1, 0, `,"n":1`);
    add(view, "b");
    add(view, "a", 1, 0, `,"n":2`);
    expect(view.list()).toEqual([
      { track_id: "a", n: 2, run: 1 },
      { track_id: "b", run: 1 },
    ]);
    expect([view.events, view.tracks]).toEqual([3, 2]);
  });

  test("keeps tracks with the same id apart when their runs differ", () => {
    const view = new LatestTracks();
    add(view, "a", 1);
    add(view, "a", 2);
    expect(view.list()).toEqual([
      { track_id: "a", run: 2 },
      { track_id: "a", run: 1 },
    ]);
  });

  test(`drops the track without an event for the longest time beyond ${TRACKS_MAX}`, () => {
    const view = new LatestTracks();
    for (let n = 0; n < TRACKS_MAX; n++) add(view, `t${n}`);
    add(view, "t0");
    add(view, "one more");
    const ids = view.list().map((t) => t.track_id);
    expect(ids).toHaveLength(TRACKS_MAX);
    expect(ids.slice(0, 2)).toEqual(["one more", "t0"]);
    expect(ids).not.toContain("t1");
    expect(view.tracks).toBe(TRACKS_MAX + 1);
  });

  test("counts a track as live for 10 s after its last event", () => {
    const view = new LatestTracks();
    add(view, "a", 1, 1000);
    add(view, "b", 1, 5000);
    expect([view.live(11_000), view.live(11_001), view.live(15_001)]).toEqual([2, 1, 0]);
  });

  test("leaves out an event that only looked like JSON, and returns the others", () => {
    const view = new LatestTracks();
    add(view, "bad", 1, 0, `,"timestamp":1,"x":`);
    add(view, "good");
    expect(view.list()).toEqual([{ track_id: "good", run: 1 }]);
  });
});
