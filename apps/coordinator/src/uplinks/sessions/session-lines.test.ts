import { describe, expect, test } from "bun:test";
import { encodeLine, LINE_BYTES_MAX, WINDOW_BYTES } from "@fleet/protocol";
import { until } from "../../testing.ts";
import { frame, FramePort, lines, type Peer } from "../testing.ts";

const STREAM = "radar3.radar";

/** Waits for the ack of `seq`, and returns the numbers that were rejected before it. */
async function rejectedUpTo(port: FramePort, peer: Peer, seq: number): Promise<number[]> {
  const rejected: number[] = [];
  let acked = 0;
  await port.until(() => {
    for (const line of peer.lines.splice(0)) {
      if (line.type === "rejected") rejected.push(line.seq);
      if (line.type === "ack") acked = line.seq;
    }
    return acked >= seq;
  });
  return rejected;
}

/** A frame line of exactly `bytes` bytes, LF included. */
function frameOf(bytes: number): string {
  const empty = frame(1, { pad: "" });
  return frame(1, { pad: "x".repeat(bytes - empty.length - 1) });
}

describe("session lines that are not frames (T1)", () => {
  test("are rejected by their number, whatever they are, and the session continues", async () => {
    await using port = new FramePort();
    const hello = await port.hello();
    const peer = await port.session(hello);
    const bad = [
      encodeLine(hello),
      encodeLine({ type: "ack", seq: 1 }),
      encodeLine({ type: "welcome", acked: 0, window_bytes: 1 }),
      encodeLine({ type: "bye", code: "draining" }),
      `{"type":"heartbeat"}\n`,
      "\n",
      "\r\n",
      "\0\0\0\n",
      `{"timestamp":1,"delay":[],"doppler":[],"snr":[]}\0\n`,
      `{"timestamp":1,"delay":[1],"doppler":[1],"snr":[NaN]}\n`,
      `${"[".repeat(100_000)}\n`,
      `{"timestamp":1,"delay":[],"doppler":[],"snr":[],"x":${"[".repeat(64)}${"]".repeat(64)}}\n`,
      "null\n",
      "GET / HTTP/1.1\r\n",
    ];
    peer.send(lines(frame(1)) + bad.join("") + lines(frame(2)));
    const count = bad.length;
    const rejected = await rejectedUpTo(port, peer, count + 2);
    expect(rejected).toEqual(Array.from({ length: count }, (_, n) => n + 2));
    const tracker = await port.tracker(STREAM);
    expect(tracker.lines).toEqual([frame(1), frame(2)]);
    expect(peer.closed).toBe(false);
  });

  test("begin with the byte beyond 1 MiB, LF included, and with the nesting level beyond 64", async () => {
    await using port = new FramePort();
    const peer = await port.session();
    const nested = (depth: number): string =>
      frame(1, { x: JSON.parse("[".repeat(depth) + "]".repeat(depth)) as unknown });
    peer.send(lines(frameOf(LINE_BYTES_MAX), frameOf(LINE_BYTES_MAX + 1), nested(63), nested(64)));
    expect(await rejectedUpTo(port, peer, 4)).toEqual([2, 4]);
    expect(port.counts.get("too_long")).toBe(1);
    expect(port.counts.get("too_deep")).toBe(1);
  });

  test("use no number when they are cut off by the end of the connection", async () => {
    await using port = new FramePort();
    const hello = await port.hello();
    const first = await port.session(hello);
    first.send(lines(frame(1)) + frame(2));
    await rejectedUpTo(port, first, 1);
    first.close();
    await until(() => port.server.connections === 0);
    const second = await port.connect();
    second.send(encodeLine(hello));
    expect(await second.next("welcome")).toMatchObject({ acked: 1 });
    second.send(lines(frame(2)));
    await rejectedUpTo(port, second, 2);
    expect((await port.tracker(STREAM)).lines).toEqual([frame(1), frame(2)]);
  });
});

test("an agent that exceeds the window only waits for its socket, and loses nothing (T8)", async () => {
  await using port = new FramePort({ trackers: "deaf" });
  const peer = await port.session();
  const deaf = await port.tracker(STREAM);
  const tracker = port.manager.list()[0]!;
  await port.until(() => tracker.isConnected);
  const line = frameOf(100_000);
  const count = Math.ceil((10 * WINDOW_BYTES) / line.length);
  peer.send(lines(...Array.from({ length: count }, () => line)));
  await port.until(() => tracker.queue.isFull);
  for (let turn = 0; turn < 100; turn++) await new Promise((done) => setImmediate(done));
  expect(peer.waiting).toBeGreaterThan(WINDOW_BYTES);
  deaf.countOnly = true;
  deaf.reads(true);
  expect(await rejectedUpTo(port, peer, count)).toEqual([]);
  expect(deaf.bytes).toBe(count * (line.length + 1));
});
