import { describe, expect, test } from "bun:test";
import { LINE_BYTES_MAX } from "@fleet/protocol";
import { nodeId, refuseWrites, registration, streamId, until } from "../testing.ts";
import { frame, FramePort, lines, PUSH } from "./testing.ts";

const HILL = nodeId("hill");

function line(n: number, more: Record<string, unknown> = {}): string {
  return frame(n, { node_id: "hill", token: PUSH, ...more });
}

const HEARTBEAT = `{"node_id":"hill","token":"${PUSH}","type":"heartbeat"}`;

describe("a plain node (T1, R10)", () => {
  test("is a node from its first frame on; its tracker receives frames without id and token; nothing is answered", async () => {
    await using port = new FramePort();
    const peer = await port.connect();
    peer.send(lines(line(1), line(2, { site: "Zürich" })));
    const tracker = await port.tracker("hill");
    await until(() => tracker.lines.length === 2);
    expect(tracker.lines.map((l) => JSON.parse(l) as unknown)).toEqual([
      { timestamp: 1001, delay: [1], doppler: [-1.5], snr: [9] },
      { timestamp: 1002, delay: [2], doppler: [-1.5], snr: [9], site: "Zürich" },
    ]);
    expect(tracker.received).toMatch(/^[\n -~]*$/);
    expect(tracker.received).not.toContain(PUSH);
    expect(port.registry.get(HILL)?.row.kind).toBe("plain");
    expect(peer.lines).toEqual([]);
  });

  test("must send a valid line among its first 16, however short these are (H12)", async () => {
    await using port = new FramePort();
    const stranger = await port.connect();
    stranger.send("\n".repeat(8000));
    await until(() => stranger.closed);
    expect(port.counts.get("auth_lines")).toBe(1);
    expect(port.counts.get("bad_json")).toBe(16);
    const late = await port.connect();
    late.send(`${"\n".repeat(14)}${line(1)}\n`);
    await port.tracker("hill");
    expect(late.closed).toBe(false);
  });

  test("is refused when it sends mostly junk, but not for any number of heartbeats (H12)", async () => {
    await using port = new FramePort();
    const peer = await port.connect();
    peer.send(lines(...Array.from({ length: 2000 }, () => HEARTBEAT)));
    peer.send(lines(...Array.from({ length: 1500 }, () => "x")));
    await until(() => port.counts.get("bad_json") === 1500);
    expect(peer.closed).toBe(false);
    peer.send("\n".repeat(10_000));
    await until(() => peer.closed);
    expect(port.counts.get("mostly_junk")).toBe(1);
    expect(port.counts.get("bad_json")).toBe(2001);
  });

  test("is provisioned by a heartbeat too (T2)", async () => {
    await using port = new FramePort();
    const peer = await port.connect();
    peer.send(lines(HEARTBEAT));
    const tracker = await port.tracker("hill");
    await until(() => tracker.connections === 1);
    expect(port.registry.get(HILL)?.row.kind).toBe("plain");
    expect(tracker.received).toBe("");
  });

  test("needs a push token: an operator's, an enrolment or a wrong token is refused and counted", async () => {
    await using port = new FramePort();
    const peer = await port.connect();
    const { accessToken } = await port.auth.credentials.issue({
      nodeId: HILL,
      instanceId: "i1" as never,
      epoch: 1,
    });
    const wrong = ["enroll-token", "operator-token", "", "wrong", accessToken];
    peer.send(lines(...wrong.map((token) => line(1, { token }))));
    await until(() => port.counts.get("refused_line") + port.counts.get("bad_credentials") === 5);
    expect(port.registry.list()).toEqual([]);
    expect(port.manager.list()).toEqual([]);
  });

  test("is the only one on its connection: other ids and wrong tokens are refused, and it continues", async () => {
    await using port = new FramePort();
    const peer = await port.connect();
    peer.send(lines(line(1), line(2, { node_id: "other" }), line(3, { token: "wrong" }), line(4)));
    const tracker = await port.tracker("hill");
    await until(() => tracker.lines.length === 2);
    expect(port.counts.get("refused_line")).toBe(2);
    expect(port.registry.list().map((n) => n.id)).toEqual([HILL]);
  });

  test("is bound by its first valid line, whatever was sent before", async () => {
    await using port = new FramePort();
    const peer = await port.connect();
    peer.send(lines("garbage", line(1, { node_id: "other", token: "no" }), line(1)));
    const tracker = await port.tracker("hill");
    await until(() => tracker.lines.length === 1);
  });

  test("cannot speak for a node that has an agent, nor once one has registered", async () => {
    await using port = new FramePort();
    await port.registry.register(registration({ node_id: "radar3", instance_id: "i1" }));
    const peer = await port.connect();
    peer.send(lines(line(1, { node_id: "radar3" })));
    await until(() => port.counts.get("node_has_agent") === 1);
    expect(port.manager.list()).toEqual([]);

    const hill = await port.connect();
    hill.send(lines(line(1)));
    const tracker = await port.tracker("hill");
    await until(() => tracker.lines.length === 1);
    await port.registry.register(registration({ node_id: "hill", instance_id: "i1" }));
    hill.send(lines(line(2)));
    await until(() => port.counts.get("node_has_agent") === 2);
    expect(tracker.lines).toHaveLength(1);
  });

  test("that is new while the database refuses writes is not admitted; a known one is", async () => {
    await using port = new FramePort();
    const known = await port.connect();
    known.send(lines(line(1)));
    const tracker = await port.tracker("hill");
    refuseWrites(port.db, true);
    const stranger = await port.connect();
    stranger.send(lines(line(1, { node_id: "new" })));
    known.send(lines(line(2)));
    await until(() => tracker.lines.length === 2 && port.counts.get("node_not_written") === 1);
    expect(port.registry.get(nodeId("new"))).toBeUndefined();
    refuseWrites(port.db, false);
    stranger.send(lines(line(2, { node_id: "new" })));
    await port.tracker("new");
  });
});

describe("lines of a plain node that are not frames (T1)", () => {
  test("are dropped and counted by their problem, and the connection continues", async () => {
    await using port = new FramePort();
    const peer = await port.connect();
    peer.send(lines(line(1)));
    peer.send(lines("not json", "[1]", line(1, { delay: "x" }), line(1, { snr: [] })));
    peer.send(lines(line(1, { type: "hello" }), `{"timestamp":1}`));
    peer.send(Buffer.from(lines(line(3, { x: "\xff" })), "latin1"));
    peer.send(lines(line(4, { pad: "x".repeat(1024 * 1024) }), line(5)));
    const tracker = await port.tracker("hill");
    await until(() => tracker.lines.length === 2);
    const reasons = [
      "bad_json",
      "not_an_object",
      "bad_arrays",
      "ragged_arrays",
      "unknown_type",
      "bad_credentials",
      "bad_utf8",
      "too_long",
    ];
    for (const reason of reasons) expect([reason, port.counts.get(reason)]).toEqual([reason, 1]);
    expect(peer.closed).toBe(false);
  });

  test("begin with the byte beyond 1 MiB, LF included, and with the nesting level beyond 64", async () => {
    await using port = new FramePort();
    const peer = await port.connect();
    peer.send(lines(line(1)));
    const padded = (n: number, bytes: number): string =>
      line(n, { pad: "x".repeat(bytes - line(n, { pad: "" }).length - 1) });
    const nested = (n: number, depth: number): string =>
      line(n, { x: JSON.parse("[".repeat(depth) + "]".repeat(depth)) as unknown });
    peer.send(lines(padded(2, LINE_BYTES_MAX), padded(3, LINE_BYTES_MAX + 1)));
    peer.send(lines(nested(4, 63), nested(5, 64), "[".repeat(100_000), "\0", line(6)));
    const tracker = await port.tracker("hill");
    await until(() => tracker.lines.length === 4);
    const timestamps = tracker.lines.map((l) => (JSON.parse(l) as { timestamp: number }).timestamp);
    expect(timestamps).toEqual([1001, 1002, 1004, 1006]);
    expect(port.counts.get("too_long")).toBe(1);
    expect(peer.closed).toBe(false);
  });

  test("do not include those of programs older than Fleet: other line ends, blanks, order and fields are fine (R10)", async () => {
    await using port = new FramePort();
    const peer = await port.connect();
    peer.send(`${line(1)}\r\n`);
    peer.send(
      `  { "snr" : [1e1], "doppler": [-0.5], "delay": [1], "timestamp": 1002.5, "token": "${PUSH}", "node_id": "hill", "site": {"x": null} } \n`,
    );
    peer.send(lines(line(3, { adsb: [null] }), line(4, { delay: [], doppler: [], snr: [] })));
    const tracker = await port.tracker("hill");
    await until(() => tracker.lines.length === 4);
    expect(tracker.lines.map((l) => JSON.parse(l) as unknown)).toEqual([
      { timestamp: 1001, delay: [1], doppler: [-1.5], snr: [9] },
      { snr: [10], doppler: [-0.5], delay: [1], timestamp: 1002.5, site: { x: null } },
      { timestamp: 1003, delay: [3], doppler: [-1.5], snr: [9], adsb: [null] },
      { timestamp: 1004, delay: [], doppler: [], snr: [] },
    ]);
  });

  test("may be cut anywhere", async () => {
    await using port = new FramePort();
    const peer = await port.connect();
    for (const byte of new TextEncoder().encode(lines(line(1), line(2))))
      peer.send(new Uint8Array([byte]));
    const tracker = await port.tracker("hill");
    await until(() => tracker.lines.length === 2);
  });
});

describe("a frame with its predecessor's timestamp (T1)", () => {
  test("is a duplicate, on a new connection too, and is counted", async () => {
    await using port = new FramePort();
    const first = await port.connect();
    first.send(lines(line(1), line(1), line(2)));
    const tracker = await port.tracker("hill");
    await until(() => tracker.lines.length === 2);
    first.close();
    const second = await port.connect();
    second.send(lines(line(2), line(3), line(2)));
    await until(() => tracker.lines.length === 4);
    expect(port.counts.get("duplicate")).toBe(2);
  });
});

describe("a plain node's sockets (T1)", () => {
  test("the close of a stale one does not affect a newer one (T4)", async () => {
    await using port = new FramePort();
    const [stale, current] = [await port.connect(), await port.connect()];
    stale.send(lines(line(1)));
    const tracker = await port.tracker("hill");
    await until(() => tracker.lines.length === 1);
    current.send(lines(line(2)));
    await until(() => tracker.lines.length === 2);
    stale.close();
    await until(() => port.server.connections === 1);
    expect(port.manager.get(streamId("hill"))?.state).toBe("RUNNING");
    current.close();
    await until(() => port.manager.get(streamId("hill"))?.state === "OUTAGE");
  });

  test("are paused while the tracker is slow, without a loss (T8)", async () => {
    await using port = new FramePort({ trackers: "deaf" });
    const peer = await port.connect();
    peer.send(lines(line(0)));
    const deaf = await port.tracker("hill");
    const tracker = port.manager.get(streamId("hill"))!;
    await port.until(() => tracker.isConnected);
    const pad = "x".repeat(50_000);
    const count = 600;
    peer.send(lines(...Array.from({ length: count }, (_, n) => line(n + 1, { pad }))));
    await port.until(() => tracker.queue.isFull);
    expect(peer.waiting).toBeGreaterThan(0);
    deaf.reads(true);
    await port.until(() => deaf.lines.length === count + 1);
    expect(tracker.queue.dropped.tracker_down).toBe(0);
  });

  test("continue to be read while the tracker is down; the oldest frames are dropped and counted (T1)", async () => {
    await using port = new FramePort({ trackers: "down" });
    const peer = await port.connect();
    const count = 2500;
    peer.send(lines(...Array.from({ length: count }, (_, n) => line(n))));
    await until(() => port.manager.get(streamId("hill"))?.queue.dropped.tracker_down === 500);
    port.trackers = "up";
    port.spawn.last.exit(1);
    await port.until(() => port.spawn.processes.length === 2);
    const tracker = await port.tracker("hill");
    await port.until(() => tracker.lines.length === 2000);
    expect(JSON.parse(tracker.lines[0]!)).toMatchObject({ timestamp: 1500 });
  });

  test("of streams without a port are sent nothing, and get a port when one is free (T3)", async () => {
    await using port = new FramePort({ ports: 1 });
    const session = await port.session();
    const peer = await port.connect();
    peer.send(lines(line(1)));
    await until(() => port.counts.get("ports_exhausted") === 1);
    expect(port.registry.get(HILL)?.row.kind).toBe("plain");
    session.close();
    await until(() => port.manager.get(streamId("radar3.radar"))?.state === "OUTAGE");
    port.clock.advance(60_000);
    await port.until(() => port.manager.get(streamId("radar3.radar"))?.isActive === false);
    peer.send(lines(line(2)));
    const tracker = await port.tracker("hill");
    await until(() => tracker.lines.length === 1);
  });
});
