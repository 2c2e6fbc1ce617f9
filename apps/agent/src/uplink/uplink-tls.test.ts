import { afterEach, expect, test } from "bun:test";
import { TestAuthority, type TestPair } from "@fleet/daemon/testing";
import { eventually, FramePort, frameText, grantFor, uplinkRig } from "../testing.ts";

const authority = new TestAuthority();
const stops: (() => void)[] = [];

afterEach(() => {
  for (const stop of stops.splice(0)) stop();
});

/** An uplink to a port with this certificate, or to one without TLS. */
function setUp(
  tls: TestPair | undefined,
  { ca }: { ca: string | undefined } = { ca: authority.cert },
) {
  const port = new FramePort(tls);
  const grant = grantFor(port.port);
  const frames = { ...grant.frames, host: "localhost", tls: true };
  const rig = uplinkRig(port, { ca, grant: { ...grant, frames } });
  stops.push(rig.stop, () => port.stop());
  return { port, ...rig };
}

test("a session over TLS is one like any other, when the certificate is good for the host (H5)", async () => {
  const { port, uplink, produce, spool } = setUp(authority.issue({ names: ["localhost"] }));
  produce(1, 3000, 10_000);
  uplink.start();
  const peer = await port.accept();
  expect(await peer.line(0)).toMatchObject({ type: "hello", token: "access-token" });
  peer.welcome(0, 1 << 26);
  await eventually(() => peer.lines.length === 3001, "all frames");
  for (const [index, line] of peer.lines.slice(1).entries())
    expect(line.startsWith(frameText(index + 1))).toBe(true);
  peer.send({ type: "ack", seq: 3000 });
  await eventually(() => spool.held === 0);
});

test.each([
  ["has expired", authority.issue({ to: 2021 })],
  ["is not valid yet", authority.issue({ from: 2048 })],
  ["is for another host name", authority.issue({ names: ["hill.example", "127.0.0.1"] })],
  ["is not signed by an authority that the agent trusts", new TestAuthority("Other").issue()],
])(
  "a frame port whose certificate %s is told nothing, not even a token, and the log names it once",
  async (found, pair) => {
    const { port, uplink, produce, clock, lines } = setUp(pair);
    produce(1, 1);
    uplink.start();
    for (let failures = 1; failures <= 4; failures++) {
      await eventually(() => uplink.state.at === "waiting" && uplink.state.failures === failures);
      clock.advance(5000);
    }
    expect(port.bytes).toBe(0);
    const warnings = lines.filter(({ level }) => level === "warn");
    expect(warnings).toHaveLength(1);
    expect(warnings[0]!.fields["reason"]).toStartWith(`the frame port's certificate ${found}. `);
  },
);

test("without a file of its own the agent goes by the public authorities", async () => {
  const { port, uplink, lines } = setUp(authority.issue(), { ca: undefined });
  uplink.start();
  await eventually(() => uplink.state.at === "waiting");
  expect(lines.at(-1)!.fields["reason"]).toContain(
    "is not signed by an authority that the agent trusts",
  );
  expect(port.bytes).toBe(0);
});

test("a frame port that was to speak TLS and does not is named, and never told a token in the clear", async () => {
  const { port, uplink, lines } = setUp(undefined);
  uplink.start();
  const peer = await port.accept();
  await eventually(() => peer.bytes > 0);
  peer.sendText('{"type":"welcome","acked":0,"window_bytes":100000}\n');
  await eventually(() => uplink.state.at === "waiting");
  expect(lines.at(-1)!.fields["reason"]).toBe("the frame port does not speak TLS");
  expect(peer.lines.join("\n")).not.toContain("access-token");
});

test("a frame port that takes the connection and never answers is hung up on before the next try", async () => {
  const { port, uplink, clock } = setUp(undefined);
  uplink.start();
  const peer = await port.accept();
  await eventually(() => peer.bytes > 0);
  clock.advance(10_000);
  expect(uplink.state.at).toBe("waiting");
  await eventually(() => peer.isClosed);
});

test("a stop does not wait for a frame port that never answers", async () => {
  const { port, uplink, clock } = setUp(undefined);
  uplink.start();
  const peer = await port.accept();
  await eventually(() => peer.bytes > 0);
  await uplink.stop(clock.monotonicMs() + 60_000);
  await eventually(() => peer.isClosed);
});

test("a port that changes to TLS is connected to again", async () => {
  const { port, uplink, now, clock } = setUp(authority.issue());
  const plain = new FramePort();
  stops.push(() => plain.stop());
  const overTls = now.grant!;
  now.grant = { ...overTls, frames: { ...overTls.frames, port: plain.port, tls: false } };
  uplink.start();
  const before = await plain.accept();
  await before.line(0);
  before.welcome(0);
  await eventually(() => uplink.state.at === "open");
  now.grant = { ...overTls, frames: { ...now.grant.frames, tls: true } };
  uplink.granted();
  await eventually(() => before.isClosed);
  now.grant = overTls;
  clock.advance(5000);
  const after = await port.accept();
  expect(await after.line(0)).toMatchObject({ type: "hello" });
});
