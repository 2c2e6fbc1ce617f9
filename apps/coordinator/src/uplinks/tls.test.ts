import { afterEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect as connectTcp } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { TestAuthority, type TestPair } from "@fleet/daemon/testing";
import type { TlsFiles } from "../net/tls-files.ts";
import { until } from "../testing.ts";
import { frame, FramePort, lines, Peer, PUSH } from "./testing.ts";

const authority = new TestAuthority();
const dirs: string[] = [];

afterEach(() => {
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true });
});

function filesOf(pair: TestPair): TlsFiles & { replace(by: TestPair): void } {
  const dir = mkdtempSync(join(tmpdir(), "fleet-tls-"));
  dirs.push(dir);
  const [cert, key] = [join(dir, "cert.pem"), join(dir, "key.pem")];
  const replace = (by: TestPair): void => {
    writeFileSync(cert, by.cert);
    writeFileSync(key, by.key);
  };
  replace(pair);
  return { cert, key, replace };
}

/** Whether a client that trusts `ca` gets through to the port. */
function isTrusted(port: FramePort, ca: string): Promise<boolean> {
  return new Promise((resolve) => {
    Bun.connect({
      hostname: "127.0.0.1",
      port: port.server.port,
      tls: { ca },
      socket: {
        data: () => {},
        handshake(socket, isSecure) {
          resolve(isSecure);
          socket.terminate();
        },
      },
    }).catch(() => resolve(false));
  });
}

describe("the frame port over TLS (T1)", () => {
  test("serves plain nodes and sessions as over plain TCP", async () => {
    await using port = new FramePort({ tls: filesOf(authority.issue()) });
    const plain = await port.connect(authority.cert);
    plain.send(lines(frame(1, { node_id: "hill", token: PUSH })));
    const hill = await port.tracker("hill");
    await until(() => hill.lines.length === 1);
    const session = await port.session(await port.hello(), authority.cert);
    session.send(lines(frame(1), "garbage", frame(3)));
    await port.until(() => session.lines.some((line) => line.type === "ack" && line.seq === 3));
    expect((await port.tracker("radar3.radar")).lines).toEqual([frame(1), frame(3)]);
  });

  test("pauses a session while its tracker is slow, and loses nothing (T8)", async () => {
    await using port = new FramePort({
      tls: filesOf(authority.issue()),
      trackers: "deaf",
    });
    const slow = await port.session(await port.hello(), authority.cert);
    const deaf = await port.tracker("radar3.radar");
    const line = frame(1, { pad: "x".repeat(50_000) });
    const count = 700;
    slow.send(lines(...Array.from({ length: count }, () => line)));
    await port.until(() => port.manager.list()[0]!.queue.isFull);
    for (let turn = 0; turn < 50; turn++) await new Promise((done) => setImmediate(done));
    expect(slow.waiting).toBeGreaterThan(0);
    deaf.countOnly = true;
    deaf.reads(true);
    await port.until(() => deaf.bytes === count * (line.length + 1));
    await port.until(() => slow.lines.some((l) => l.type === "ack" && l.seq === count));
  });

  test("closes connections that do not speak TLS, and counts why", async () => {
    await using port = new FramePort({ tls: filesOf(authority.issue()) });
    const peer = await port.connect();
    peer.send(lines(frame(1, { node_id: "hill", token: PUSH })));
    await until(() => peer.closed && port.server.connections === 0);
    expect(port.counts.get("tls_handshake")).toBe(1);
    expect(port.log.count("frames: connection refused")).toBe(1);
    expect(port.registry.list()).toEqual([]);
  });

  test("closes connections without a handshake within 5 s", async () => {
    await using port = new FramePort({ tls: filesOf(authority.issue()) });
    const peer = await port.connect();
    await until(() => port.server.connections === 1);
    port.clock.advance(5000);
    await until(() => peer.closed && port.server.connections === 0);
    expect(port.counts.get("auth_timeout")).toBe(1);
  });

  test("cuts off within 5 s a peer that does not close its side", async () => {
    await using port = new FramePort({ tls: filesOf(authority.issue()) });
    const tcp = connectTcp({ host: "127.0.0.1", port: port.server.port, allowHalfOpen: true });
    const tls = connectTls({ socket: tcp, ca: authority.cert, servername: "localhost" });
    tls.on("error", () => {});
    tcp.on("error", () => {});
    await new Promise((done) => tls.once("secureConnect", done));
    // From here on it neither reads nor answers.
    tcp.pause();
    tls.write("x".repeat(9000));
    await until(() => port.counts.get("auth_bytes") === 1);
    for (let turn = 0; turn < 20; turn++) await new Promise((done) => setImmediate(done));
    port.clock.advance(4999);
    expect(port.server.connections).toBe(1);
    port.clock.advance(1);
    await until(() => port.server.connections === 0);
    tcp.destroy();
  });
});

describe("a certificate that is replaced (T1)", () => {
  test("is used within a minute; open connections keep the old one", async () => {
    const files = filesOf(authority.issue());
    await using port = new FramePort({ tls: files });
    const before = await port.session(await port.hello(), authority.cert);
    const next = new TestAuthority("Next Authority");
    files.replace(next.issue());
    expect(await isTrusted(port, authority.cert)).toBe(true);
    for (let turn = 0; turn < 6; turn++) {
      port.clock.advance(10_000);
      before.send(`{"type":"skip","to":1}\n`);
      await before.next("ack");
    }
    expect(await isTrusted(port, authority.cert)).toBe(false);
    expect(await isTrusted(port, next.cert)).toBe(true);
    Bun.gc(true);
    before.send(lines(frame(1)));
    const tracker = await port.tracker("radar3.radar");
    await until(() => tracker.lines.length === 1);
    expect(port.log.count("frames: new certificate")).toBe(1);
    const after = new Peer();
    await after.open(port.server.port, next.cert);
    after.send(lines(frame(1, { node_id: "hill", token: PUSH })));
    await until(() => port.registry.list().length === 2);
    after.close();
  });

  test("by an unusable one changes nothing, is logged once, and can be replaced again", async () => {
    const files = filesOf(authority.issue());
    await using port = new FramePort({ tls: files });
    const good = authority.issue();
    files.replace({ cert: good.cert, key: authority.issue().key });
    for (let minute = 0; minute < 3; minute++) port.clock.advance(60_000);
    expect(port.log.count("frames: the new certificate can't be used")).toBe(1);
    expect(await isTrusted(port, authority.cert)).toBe(true);
    rmSync(files.key);
    port.clock.advance(60_000);
    expect(port.log.count("frames: the new certificate can't be used")).toBe(2);
    files.replace(new TestAuthority("Next Authority").issue());
    port.clock.advance(60_000);
    expect(await isTrusted(port, authority.cert)).toBe(false);
  });

  test("by itself is not logged", async () => {
    const pair = authority.issue();
    const files = filesOf(pair);
    await using port = new FramePort({ tls: files });
    files.replace(pair);
    port.clock.advance(180_000);
    expect(port.log.count("frames: new certificate")).toBe(0);
  });
});
