import { afterEach, beforeEach, expect, test } from "bun:test";
import { eventually, FramePort, frameText, uplinkRig, welcomed } from "../testing.ts";

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

function setUp(bytesMax = 1 << 26) {
  const rig = uplinkRig(port, { bytesMax });
  stops.push(rig.stop);
  return rig;
}

test("says hello with the grant's credentials and the spool's first number", async () => {
  const { uplink, produce, spool } = setUp();
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
    spool_id: spool.spoolId,
    first_seq: 1,
  });
});

test("sends nothing before the welcome, then every frame, and releases acknowledged frames", async () => {
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

test("resumes after the last acknowledged frame", async () => {
  const { uplink, produce, spool } = setUp();
  produce(1, 5);
  uplink.start();
  const { peer } = await welcomed(port, 3);
  expect(await peer.line(1)).toMatchObject({ delay: [4.5] });
  expect(spool.firstSeq).toBe(4);
});

test("after a cut, even in the middle of a frame, the next session begins again at the first unacknowledged frame", async () => {
  const { uplink, produce, clock, at, seen } = setUp();
  produce(1, 2000, 4000);
  uplink.start();
  const first = (await welcomed(port)).peer;
  await eventually(() => first.lines.length > 10);
  first.send({ type: "ack", seq: 5 });
  await eventually(() => uplink.framesLeft === 1995);
  first.cut();
  await at("waiting");
  expect(seen.lost).toBe(1);
  clock.advance(100);
  const { peer, hello } = await welcomed(port, 5);
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
  const { peer } = await welcomed(port, 0, 5 * (size + 1));
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
  const { peer } = await welcomed(port, 0, 100);
  await peer.line(1);
  expect(peer.lines.length).toBe(2);
  peer.send({ type: "ack", seq: 1 });
  expect(await peer.line(2)).toMatchObject({ delay: [2.5] });
});

test("a socket that accepts only parts of a write loses nothing and keeps the order", async () => {
  const { uplink, produce } = setUp();
  uplink.start();
  const { peer } = await welcomed(port, 0, 1 << 26);
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
  const { peer } = await welcomed(port);
  await peer.line(3);
  peer.send({ type: "rejected", seq: 2, code: "bad_frame" });
  peer.send({ type: "ack", seq: 3 });
  await eventually(() => uplink.framesLeft === 0);
  expect(spool.stats()).toMatchObject({ acked: 2, held: 0, dropped: { "rejected:bad_frame": 1 } });
});

test("a backlog is sent first, oldest first, however much is added meanwhile; new frames follow without a break (A16)", async () => {
  const { uplink, produce, spool, at } = setUp();
  const size = 1000;
  produce(1, 2000, size);
  uplink.start();
  const { peer } = await welcomed(port, 0, 100 * (size + 1));
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

test("a coordinator that has frames the spool never had, as after the state was put back from a copy, gets all under a new id (A16)", async () => {
  const { uplink, produce, spool, clock, at } = setUp();
  produce(1, 3);
  uplink.start();
  const { hello } = await welcomed(port, 4);
  await at("waiting");
  await clock.run(1000);
  const { peer, hello: second } = await welcomed(port, 0);
  expect(second).toMatchObject({ spool_id: spool.spoolId, first_seq: 1 });
  expect((hello as { spool_id: string }).spool_id).not.toBe(spool.spoolId);
  await eventually(() => peer.lines.length === 4);
  peer.send({ type: "ack", seq: 3 });
  await eventually(() => spool.held === 0);
});

test("draining waits for the last ack, and no longer than it may", async () => {
  const { uplink, produce, clock } = setUp();
  produce(1, 2);
  uplink.start();
  const { peer } = await welcomed(port);
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
  const { peer } = await welcomed(port);
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
