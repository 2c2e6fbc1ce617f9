import { afterEach, beforeEach, expect, test } from "bun:test";
import { seededRandom } from "@fleet/daemon";
import { FakeClock } from "@fleet/daemon/testing";
import { instanceIdSchema, nodeIdSchema, sensorNameSchema, spoolIdSchema } from "@fleet/protocol";
import type { Grant } from "./grant.ts";
import { MemorySpool } from "./memory-spool.ts";
import { eventually, FramePort, frameText, recordingLog } from "./testing.ts";
import { Uplink } from "./uplink.ts";

const encoder = new TextEncoder();

let port: FramePort;
let stops: (() => void)[];

beforeEach(() => {
  port = new FramePort();
  stops = [];
});

afterEach(() => {
  for (const stop of stops) stop();
  port.stop();
});

function grantFor(framePort: number, epoch = 7): Grant {
  return {
    nodeId: nodeIdSchema.parse("radar3"),
    instanceId: instanceIdSchema.parse("i1"),
    epoch,
    accessToken: "access-token",
    frames: { host: "127.0.0.1", port: framePort, tls: false },
  };
}

function setUp(bytesMax = 1 << 26) {
  const clock = new FakeClock();
  const { log, lines } = recordingLog();
  const spool = new MemorySpool({ spoolId: spoolIdSchema.parse("s1"), bytesMax });
  const seen = { unauthorized: [] as Grant[], superseded: 0, lost: 0 };
  const now: { grant: Grant | undefined } = { grant: grantFor(port.port) };
  const uplink = new Uplink({
    sensor: sensorNameSchema.parse("radar"),
    spool,
    ca: undefined,
    clock,
    random: seededRandom(1),
    log,
    grant: () => now.grant,
    onUnauthorized: (refused) => seen.unauthorized.push(refused),
    onSuperseded: () => seen.superseded++,
    onLost: () => seen.lost++,
  });
  const produce = (first: number, last: number, size = 0): void => {
    for (let n = first; n <= last; n++) {
      const line = encoder.encode(frameText(n).padEnd(size));
      spool.append(line, 0, line.length);
    }
  };
  const at = (state: string): Promise<void> => eventually(() => uplink.state.at === state, state);
  stops.push(() => void uplink.stop(clock.monotonicMs()));
  return { clock, log, lines, spool, seen, now, uplink, produce, at };
}

/** Plays an accepting coordinator up to the welcome. */
async function welcomed(acked = 0, windowBytes = 1 << 22) {
  const peer = await port.accept();
  const hello = await peer.line(0);
  peer.welcome(acked, windowBytes);
  return { peer, hello };
}

test("says hello with the grant's credentials and the spool's first number", async () => {
  const { uplink, produce } = setUp();
  produce(1, 2);
  uplink.start();
  const peer = await port.accept();
  expect(await peer.line(0)).toEqual({
    type: "hello",
    protocol: 1,
    node_id: "radar3",
    sensor: "radar",
    token: "access-token",
    instance_id: "i1",
    epoch: 7,
    spool_id: "s1",
    first_seq: 1,
  });
});

test("sends nothing before the welcome, then every frame, and lets go of what is acknowledged", async () => {
  const { uplink, produce, at, spool } = setUp();
  produce(1, 3);
  uplink.start();
  const peer = await port.accept();
  await peer.line(0);
  expect(peer.lines.length).toBe(1);
  peer.welcome(0);
  expect(await peer.line(3)).toMatchObject({ delay: [3.5] });
  expect(spool.stats().held).toBe(3);
  peer.send({ type: "ack", seq: 2 });
  await eventually(() => spool.stats().acked === 2);
  produce(4, 4);
  expect(await peer.line(4)).toMatchObject({ delay: [4.5] });
  await at("open");
});

test("resumes behind what the coordinator has acknowledged", async () => {
  const { uplink, produce, spool } = setUp();
  produce(1, 5);
  uplink.start();
  const { peer } = await welcomed(3);
  expect(await peer.line(1)).toMatchObject({ delay: [4.5] });
  expect(spool.firstSeq).toBe(4);
});

test("after a cut, even in the middle of a frame, the next session begins again at the first unacknowledged frame", async () => {
  const { uplink, produce, clock, at, seen } = setUp();
  produce(1, 2000, 4000);
  uplink.start();
  const first = (await welcomed()).peer;
  await eventually(() => first.lines.length > 10);
  first.send({ type: "ack", seq: 5 });
  await eventually(() => uplink.framesLeft === 1995);
  first.cut();
  await at("waiting");
  expect(seen.lost).toBe(1);
  clock.advance(100);
  const { peer, hello } = await welcomed(5);
  expect(hello).toMatchObject({ first_seq: 6 });
  expect(await peer.line(1)).toMatchObject({ delay: [6.5] });
});

test("frames the spool dropped are skipped by number", async () => {
  const { uplink, produce } = setUp(4 * (frameText(1).length + 1) + 3);
  produce(1, 3);
  uplink.start();
  const peer = await port.accept();
  await peer.line(0);
  produce(4, 10);
  peer.welcome(0);
  expect(await peer.line(1)).toEqual({ type: "skip", to: 7 });
  expect(await peer.line(2)).toMatchObject({ delay: [7.5] });
});

test("no more than the window is under way without an ack", async () => {
  const { uplink, produce } = setUp();
  const size = 1000;
  produce(1, 20, size);
  uplink.start();
  const { peer } = await welcomed(0, 5 * (size + 1));
  await peer.line(5);
  produce(21, 22, size);
  const helloBytes = peer.lines[0]!.length + 1;
  for (let acked = 1; acked <= 4; acked++) {
    await new Promise((resolve) => setImmediate(resolve));
    expect(peer.lines.length).toBe(6);
    expect(peer.bytes).toBe(helloBytes + 5 * (size + 1));
    peer.send({ type: "ack", seq: acked });
  }
  peer.send({ type: "ack", seq: 5 });
  expect(await peer.line(10)).toMatchObject({ delay: [10.5] });
});

test("a frame that is larger than the window is sent when nothing else is under way", async () => {
  const { uplink, produce } = setUp();
  produce(1, 2, 5000);
  uplink.start();
  const { peer } = await welcomed(0, 100);
  await peer.line(1);
  expect(peer.lines.length).toBe(2);
  peer.send({ type: "ack", seq: 1 });
  expect(await peer.line(2)).toMatchObject({ delay: [2.5] });
});

test("a socket that takes only parts of what is written loses nothing and keeps the order", async () => {
  const { uplink, produce } = setUp();
  uplink.start();
  const { peer } = await welcomed(0, 1 << 26);
  peer.pause();
  produce(1, 3000, 10_000);
  await eventually(() => uplink.framesLeft === 3000);
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
  expect(peer.lines.length).toBe(1);
  peer.resume();
  await eventually(() => peer.lines.length === 3001, "all frames");
  for (const [index, line] of peer.lines.slice(1).entries())
    expect(line.startsWith(frameText(index + 1))).toBe(true);
});

test("understands the coordinator however its lines are cut", async () => {
  const { uplink, produce, spool } = setUp();
  produce(1, 3);
  uplink.start();
  const peer = await port.accept();
  await peer.line(0);
  const text = ['{"type":"welcome","acked":0,"window_bytes":100000}', '{"type":"ack","seq":3}'];
  for (const char of text[0]! + "\n") {
    peer.sendText(char);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await peer.line(3);
  for (const char of text[1]! + "\n") {
    peer.sendText(char);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await eventually(() => spool.stats().acked === 3);
});

test("a rejected frame is counted as dropped and is not sent again", async () => {
  const { uplink, produce, spool } = setUp();
  produce(1, 3);
  uplink.start();
  const { peer } = await welcomed();
  await peer.line(3);
  peer.send({ type: "rejected", seq: 2, code: "bad_frame" });
  peer.send({ type: "ack", seq: 3 });
  await eventually(() => uplink.framesLeft === 0);
  expect(spool.stats()).toMatchObject({ acked: 2, held: 0, dropped: { "rejected:bad_frame": 1 } });
});

test.each(["unauthorized", "unknown_node", "unknown_sensor"])(
  "a reject with %s asks for a new grant, and the new one is used at once",
  async (code) => {
    const { uplink, now, at, seen } = setUp();
    uplink.start();
    const first = await port.accept();
    await first.line(0);
    const refused = now.grant!;
    first.send({ type: "reject", code, message: "no", retryable: true });
    await at("waiting");
    expect(seen.unauthorized).toEqual([refused]);
    now.grant = { ...grantFor(port.port), accessToken: "fresh" };
    uplink.granted();
    expect(await (await port.accept()).line(0)).toMatchObject({ token: "fresh" });
  },
);

test("a coordinator that refuses every new grant is not asked again faster than the backoff allows", async () => {
  const { uplink, now, at, clock } = setUp();
  const refuse = async (): Promise<void> => {
    const peer = await port.accept();
    await peer.line(0);
    peer.send({ type: "reject", code: "unauthorized", message: "no", retryable: true });
    await at("waiting");
    now.grant = grantFor(port.port);
    uplink.granted();
  };
  uplink.start();
  await refuse();
  await refuse();
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
  expect(uplink.state).toMatchObject({ at: "waiting", failures: 2 });
  expect(port.peers.length).toBe(2);
  clock.advance(200);
  await port.accept();
});

test("superseded, as reject or as bye, is told to the agent", async () => {
  const { uplink, at, seen, clock } = setUp();
  uplink.start();
  const first = await port.accept();
  await first.line(0);
  first.send({ type: "reject", code: "superseded", message: "newer", retryable: false });
  await at("waiting");
  expect(seen.superseded).toBe(1);
  clock.advance(100);
  (await welcomed()).peer.send({ type: "bye", code: "superseded" });
  await eventually(() => seen.superseded === 2);
});

test("superseded by its own newer grant is no reason to end", async () => {
  const { uplink, at, seen, now } = setUp();
  uplink.start();
  const first = await port.accept();
  await first.line(0);
  now.grant = grantFor(port.port, 8);
  first.send({ type: "reject", code: "superseded", message: "newer", retryable: false });
  await at("waiting");
  expect(seen.superseded).toBe(0);
});

test("a backlog comes first, oldest first, however much is added meanwhile; what is new follows without a break (A16)", async () => {
  const { uplink, produce, spool, at } = setUp();
  const size = 1000;
  produce(1, 2000, size);
  uplink.start();
  const { peer } = await welcomed(0, 100 * (size + 1));
  await at("open");
  let last = 2000;
  for (let acked = 100; acked <= 4000; acked += 100) {
    produce(last + 1, last + 50, size);
    last += 50;
    await peer.line(acked);
    peer.send({ type: "ack", seq: acked });
  }
  await eventually(() => spool.held === 0);
  const numbers = peer.lines
    .slice(1)
    .map((line) => (JSON.parse(line) as { delay: [number] }).delay[0]);
  expect(numbers).toEqual(Array.from({ length: 4000 }, (_, n) => n + 1.5));
});

test.each([
  ["a refusal it does not know is tried again as that says: soon", "reject", true, 100],
  ["a refusal it does not know is tried again as that says: later", "reject", false, 1000],
  ["a hello that is none is tried again later", "bad_hello", false, 1000],
  ["another protocol is tried again later", "unsupported_protocol", false, 1000],
  ["a full coordinator is tried again soon", "ports_exhausted", true, 100],
])("%s", async (_what, code, retryable, withinMs) => {
  const { uplink, at, clock } = setUp();
  uplink.start();
  const peer = await port.accept();
  await peer.line(0);
  peer.send({ type: "reject", code, message: "no", retryable });
  await at("waiting");
  // The delay is in the upper half of its window.
  clock.advance(withinMs / 2 - 1);
  expect(uplink.state.at).toBe("waiting");
  clock.advance(withinMs / 2 + 1);
  expect(uplink.state.at).toBe("connecting");
});

test.each(["draining", "replaced", "bad_session", "a code of a later version"])(
  "a session that ends with %p is begun again",
  async (code) => {
    const { uplink, at, clock } = setUp();
    uplink.start();
    (await welcomed()).peer.send({ type: "bye", code });
    await at("waiting");
    clock.advance(100);
    await welcomed();
    await at("open");
  },
);

test.each([
  ["text that is no JSON", "hello\n"],
  ["a line of no known type", '{"type":"nonsense"}\n'],
  ["an ack before the welcome", '{"type":"ack","seq":1}\n'],
  [
    "an ack in the welcome of frames that never were",
    '{"type":"welcome","acked":9,"window_bytes":100}\n',
  ],
  ["a line without an end", "x".repeat(9000)],
])("%s closes the session and it is tried again later", async (_what, text) => {
  const { uplink, at, clock, seen } = setUp();
  uplink.start();
  const peer = await port.accept();
  await peer.line(0);
  peer.sendText(text);
  await at("waiting");
  await eventually(() => peer.isClosed);
  clock.advance(1000);
  await welcomed();
  await at("open");
  expect(seen).toEqual({ unauthorized: [], superseded: 0, lost: 0 });
});

test("an ack of frames that were not sent closes the session and lets nothing go", async () => {
  const { uplink, produce, at, spool } = setUp();
  produce(1, 2, 1000);
  uplink.start();
  const { peer } = await welcomed(0, 1001);
  await peer.line(1);
  peer.send({ type: "ack", seq: 2 });
  await at("waiting");
  expect(spool.stats()).toMatchObject({ acked: 0, held: 2 });
});

test("a coordinator that has frames the spool never had, as after the state was put back from a copy, gets all under a new id (A16)", async () => {
  const { uplink, produce, spool, clock, at } = setUp();
  produce(1, 3);
  uplink.start();
  const { hello } = await welcomed(4);
  await at("waiting");
  await clock.run(1000);
  const { peer, hello: second } = await welcomed(0);
  expect(second).toMatchObject({ spool_id: spool.spoolId, first_seq: 1 });
  expect((hello as { spool_id: string }).spool_id).not.toBe(spool.spoolId);
  await eventually(() => peer.lines.length === 4);
  peer.send({ type: "ack", seq: 3 });
  await eventually(() => spool.held === 0);
});

test("no welcome for 10 s, and it is tried again", async () => {
  const { uplink, at, clock } = setUp();
  uplink.start();
  const silent = await port.accept();
  await silent.line(0);
  clock.advance(9_999);
  expect(uplink.state.at).toBe("greeting");
  clock.advance(1);
  await at("waiting");
  await eventually(() => silent.isClosed);
});

test("a coordinator that says nothing for 30 s is gone; one that still speaks is not, however long frames wait", async () => {
  const { uplink, produce, at, clock, spool } = setUp();
  uplink.start();
  const { peer } = await welcomed();
  await at("open");
  produce(1, 9);
  await peer.line(9);
  for (let acked = 1; acked <= 8; acked++) {
    clock.advance(29_999);
    peer.send({ type: "ack", seq: acked - 1 });
    peer.send({ type: "ack", seq: acked });
    await eventually(() => spool.stats().acked === acked);
  }
  clock.advance(29_999);
  expect(uplink.state.at).toBe("open");
  clock.advance(1);
  expect(uplink.state.at).toBe("waiting");
  await eventually(() => peer.isClosed);
});

test("an agent with nothing to say for 10 s repeats which number comes next, and the numbering stays", async () => {
  const { uplink, produce, at, clock } = setUp();
  produce(1, 2);
  uplink.start();
  const { peer } = await welcomed();
  await at("open");
  await peer.line(2);
  clock.advance(9_999);
  expect(peer.lines.length).toBe(3);
  clock.advance(1);
  expect(await peer.line(3)).toEqual({ type: "skip", to: 3 });
  clock.advance(10_000);
  expect(await peer.line(4)).toEqual({ type: "skip", to: 3 });
  produce(3, 3);
  expect(await peer.line(5)).toMatchObject({ delay: [3.5] });
});

test("an agent whose coordinator reads nothing does not heap up what it would repeat", async () => {
  const { uplink, produce, at, clock } = setUp();
  uplink.start();
  const { peer } = await welcomed(0, 1 << 26);
  await at("open");
  peer.pause();
  produce(1, 3000, 10_000);
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
  clock.advance(29_999);
  expect(uplink.state.at).toBe("open");
  peer.resume();
  await eventually(() => peer.lines.length === 3001, "all frames");
  expect(peer.lines.filter((line) => line.includes("skip"))).toEqual([]);
});

test("a port nobody listens on is tried again with growing delays, for ever", async () => {
  const { uplink, now, at, clock } = setUp();
  const gone = new FramePort();
  now.grant = grantFor(gone.port);
  gone.stop();
  uplink.start();
  for (let failures = 1; failures <= 12; failures++) {
    await eventually(() => uplink.state.at === "waiting" && uplink.state.failures === failures);
    if (failures > 1) expect(clock.timers).toBe(1);
    clock.advance(5000);
  }
  now.grant = grantFor(port.port);
  await eventually(() => uplink.state.at === "waiting");
  uplink.granted();
  await welcomed();
  await at("open");
});

test("a grant for another epoch or endpoint moves an open session; a new token alone does not", async () => {
  const { uplink, now, at, clock } = setUp();
  uplink.start();
  await welcomed();
  await at("open");
  now.grant = { ...grantFor(port.port), accessToken: "newer" };
  uplink.granted();
  expect(uplink.state.at).toBe("open");
  now.grant = grantFor(port.port, 8);
  uplink.granted();
  clock.advance(100);
  expect((await welcomed()).hello).toMatchObject({ epoch: 8 });
});

test("draining waits for the last ack, and no longer than it may", async () => {
  const { uplink, produce, clock } = setUp();
  produce(1, 2);
  uplink.start();
  const { peer } = await welcomed();
  await peer.line(2);
  let drained = 0;
  void uplink.drain(clock.monotonicMs() + 1000).then(() => drained++);
  await new Promise((resolve) => setImmediate(resolve));
  expect(drained).toBe(0);
  peer.send({ type: "ack", seq: 2 });
  await eventually(() => drained === 1);
  produce(3, 3);
  const late = uplink.drain(clock.monotonicMs() + 1000);
  clock.advance(1000);
  await late;
  expect(uplink.framesLeft).toBe(1);
});

test("a stop closes the connection, ends in idle, and stopping twice is one stop", async () => {
  const { uplink, at, clock } = setUp();
  uplink.start();
  const { peer } = await welcomed();
  await at("open");
  const stopped = uplink.stop(clock.monotonicMs() + 1000);
  expect(uplink.stop(clock.monotonicMs() + 1000)).toBe(stopped);
  await stopped;
  expect(uplink.state.at).toBe("idle");
  await eventually(() => peer.isClosed);
  uplink.granted();
  expect(uplink.state.at).toBe("idle");
  expect(clock.timers).toBe(0);
});
