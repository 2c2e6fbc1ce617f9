import { afterEach, beforeEach, expect, test } from "bun:test";
import { eventually, FramePort, grantFor, uplinkRig, welcomed } from "../testing.ts";

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

function setUp() {
  const rig = uplinkRig(port);
  stops.push(rig.stop);
  return rig;
}

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

test("superseded, as reject or as bye, is reported to the agent", async () => {
  const { uplink, at, seen, clock } = setUp();
  uplink.start();
  const first = await port.accept();
  await first.line(0);
  first.send({ type: "reject", code: "superseded", message: "newer", retryable: false });
  await at("waiting");
  expect(seen.superseded).toBe(1);
  clock.advance(100);
  (await welcomed(port)).peer.send({ type: "bye", code: "superseded" });
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
    (await welcomed(port)).peer.send({ type: "bye", code });
    await at("waiting");
    clock.advance(100);
    await welcomed(port);
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
  await welcomed(port);
  await at("open");
  expect(seen).toEqual({ unauthorized: [], superseded: 0, lost: 0 });
});

test("an ack of frames that were not sent closes the session and lets nothing go", async () => {
  const { uplink, produce, at, spool } = setUp();
  produce(1, 2, 1000);
  uplink.start();
  const { peer } = await welcomed(port, 0, 1001);
  await peer.line(1);
  peer.send({ type: "ack", seq: 2 });
  await at("waiting");
  expect(spool.stats()).toMatchObject({ acked: 0, held: 2 });
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
  const { peer } = await welcomed(port);
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

test("an agent without frames for 10 s repeats its next number, and the numbering does not change", async () => {
  const { uplink, produce, at, clock } = setUp();
  produce(1, 2);
  uplink.start();
  const { peer } = await welcomed(port);
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

test("an agent whose coordinator reads nothing does not queue repeated keepalives", async () => {
  const { uplink, produce, at, clock } = setUp();
  uplink.start();
  const { peer } = await welcomed(port, 0, 1 << 26);
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
  await welcomed(port);
  await at("open");
});

test("a grant for another epoch or endpoint moves an open session; a new token alone does not", async () => {
  const { uplink, now, at, clock } = setUp();
  uplink.start();
  await welcomed(port);
  await at("open");
  now.grant = { ...grantFor(port.port), accessToken: "newer" };
  uplink.granted();
  expect(uplink.state.at).toBe("open");
  now.grant = grantFor(port.port, 8);
  uplink.granted();
  clock.advance(100);
  expect((await welcomed(port)).hello).toMatchObject({ epoch: 8 });
});
