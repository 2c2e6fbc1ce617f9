import { describe, expect, test } from "bun:test";
import { seededRandom } from "@fleet/daemon";
import { LINE_BYTES_MAX } from "@fleet/protocol";
import { DEFAULT_CONFIG } from "./config.ts";
import { type ByteSink, EventOutput } from "./events/event-output.ts";
import { Session } from "./session.ts";
import { frameAt, lineOf, parseEvents } from "./testing.ts";

const FLIGHTS = [
  { delayKm: 40, dopplerHz: 120, hex: "é1" },
  { delayKm: 20, dopplerHz: -80 },
];

function setUp() {
  let text = "";
  const sink: ByteSink = {
    write(bytes) {
      text += new TextDecoder().decode(bytes);
      return bytes.length;
    },
    flush: () => 0,
  };
  const output = new EventOutput(sink);
  const reports: string[] = [];
  const session = new Session(DEFAULT_CONFIG, output, (line) => reports.push(line), undefined);
  const push = async (data: string | Uint8Array): Promise<void> => {
    await session.push(Buffer.from(data));
  };
  const events = async () => {
    await output.untilEmpty();
    return parseEvents(text);
  };
  return { session, reports, push, events };
}

function frames(count: number): string {
  const random = seededRandom(1);
  return Array.from({ length: count }, (_, index) => lineOf(frameAt(index, FLIGHTS, random))).join(
    "",
  );
}

describe("Session", () => {
  test("writes the same events whether the bytes arrive one at a time or all at once", async () => {
    const atOnce = setUp();
    await atOnce.push(frames(30));
    const oneByOne = setUp();
    for (const byte of Buffer.from(frames(30))) await oneByOne.push(Uint8Array.of(byte));
    const events = await oneByOne.events();
    expect(events.length).toBe(56);
    expect(events).toEqual(await atOnce.events());
    expect(events[0]?.adsb_hex).toBe("é1");
  });

  test("skips and counts invalid lines, and continues", async () => {
    const { session, push, events } = setUp();
    const [first = "", ...rest] = frames(6).split(/(?<=\n)/);
    await push(first);
    await push('{"timestamp":\n[1]\n{"type":"heartbeat"}\n{"delay":[]}\n\n');
    await push(Uint8Array.of(0xff, 0x0a));
    await push('{"timestamp":1,"delay":[null],"doppler":[1],"snr":[1]}\n');
    await push(`${" ".repeat(LINE_BYTES_MAX)}\n`);
    await push(rest.join(""));
    expect((await events()).length).toBe(8);
    expect(session.summary()).toBe(
      "frames=6 detections=12 events=8 tracks_confirmed=2 oversized_lines=1 skipped_bad_utf8=1 " +
        "skipped_bad_json=1 skipped_not_an_object=1 skipped_not_a_frame=1 skipped_bad_timestamp=1 skipped_bad_number=1",
    );
  });

  test("prints the summary on RESET and discards its tracks", async () => {
    const { reports, push, events } = setUp();
    const lines = frames(8).split(/(?<=\n)/);
    await push(lines.slice(0, 5).join(""));
    await push('{"type":"RESET"}\n');
    await push(lines.slice(5).join(""));
    expect(reports).toEqual(["reset: frames=5 detections=10 events=6 tracks_confirmed=2 resets=1"]);
    const ids = (await events()).map((event) => event.track_id);
    expect(ids.slice(-2)).toEqual(["260708-000002", "260708-000003"]);
  });

  test("discards the incomplete line of a client that has disconnected, and keeps the tracks", async () => {
    const { session, push, events } = setUp();
    const lines = frames(8).split(/(?<=\n)/);
    await push(lines.slice(0, 4).join(""));
    await push((lines[4] ?? "").slice(0, 50));
    session.endClient();
    await push(lines.slice(5).join(""));
    const lengths = (await events()).map((event) => event.length);
    expect(lengths.slice(-2)).toEqual([7, 7]);
    expect(session.counters.skipped.bad_json).toBe(0);
  });

  test("processes only a little input while its events are not read", async () => {
    const finish = Promise.withResolvers<number>();
    const output = new EventOutput({ write: () => 0, flush: () => finish.promise });
    const session = new Session(DEFAULT_CONFIG, output, () => {}, undefined);
    const work = session.push(Buffer.from(frames(2000)));
    expect(work).toBeInstanceOf(Promise);
    expect(session.counters.frames).toBeLessThan(300);
    expect(output.pendingBytes).toBeLessThan(1024 * 1024);
    finish.resolve(0);
    await work;
    expect(session.counters.frames).toBe(2000);
  });
});
