import { describe, expect, test } from "bun:test";
import { connect } from "node:net";
import { encodeLine, type Hello } from "@fleet/protocol";
import { knownNodes } from "../db/schema.ts";
import type { Registry } from "../registry/registry.ts";
import { instanceId, nodeId, registration, until } from "../testing.ts";
import { frame, FramePort, lines, type Peer, PUSH } from "./testing.ts";

async function rejected(port: FramePort, hello: unknown): Promise<Record<string, unknown>> {
  const peer = await port.connect();
  peer.send(`${JSON.stringify(hello)}\n`);
  const line = await peer.next("reject");
  await until(() => peer.closed);
  expect(port.counts.get(`hello_${line.code}`)).toBeGreaterThan(0);
  expect(line.message).toMatch(/^[ -~]+$/);
  return { code: line.code, retryable: line.retryable };
}

describe("a hello is refused (R9)", () => {
  test("when it is malformed: bad ids, missing or wrong fields", async () => {
    await using port = new FramePort();
    const good = await port.hello();
    const bad = { code: "bad_hello", retryable: false };
    for (const hello of [
      { type: "hello" },
      { ...good, node_id: "../../etc" },
      { ...good, sensor: "a.b" },
      { ...good, sensor: "../x" },
      { ...good, first_seq: 0 },
      { ...good, epoch: "1" },
      { ...good, token: "" },
    ])
      expect(await rejected(port, hello)).toEqual(bad);
  });

  test("in another protocol", async () => {
    await using port = new FramePort();
    expect(await rejected(port, { ...(await port.hello()), protocol: 2 })).toEqual({
      code: "unsupported_protocol",
      retryable: false,
    });
  });

  test("without the node's own access token, and retryable then", async () => {
    await using port = new FramePort();
    const mine = await port.hello("radar3");
    const others = await port.hello("hill");
    const { refreshToken } = await port.auth.credentials.issue({
      nodeId: nodeId("radar3"),
      instanceId: instanceId("i1"),
      epoch: 1,
    });
    const cases: Hello[] = [
      { ...mine, token: others.token },
      { ...mine, token: refreshToken },
      { ...mine, token: PUSH },
      { ...mine, token: "enroll-token" },
      { ...mine, token: "operator-token" },
      { ...mine, instance_id: instanceId("i2") },
      { ...mine, epoch: 2 },
      { ...mine, node_id: nodeId("hill") },
    ];
    for (const hello of cases) {
      expect(await rejected(port, hello)).toEqual({ code: "unauthorized", retryable: true });
    }
    port.clock.advance(3_600_000);
    expect(await rejected(port, mine)).toEqual({ code: "unauthorized", retryable: true });
    expect(port.manager.list()).toEqual([]);
  });

  test("from an instance that a newer one has replaced, and not retryable", async () => {
    await using port = new FramePort();
    const old = await port.hello("radar3", { instance_id: "i1" });
    await port.hello("radar3", { instance_id: "i2" });
    expect(await rejected(port, old)).toEqual({ code: "superseded", retryable: false });
  });

  test("for an unknown node, or a sensor that the node has not registered", async () => {
    await using elsewhere = new FramePort();
    await using port = new FramePort();
    const claims = { nodeId: nodeId("radar3"), instanceId: instanceId("i1"), epoch: 1 };
    const { accessToken: token } = await port.auth.credentials.issue(claims);
    const stranger = await elsewhere.hello("radar3", { token });
    expect(await rejected(port, stranger)).toEqual({ code: "unknown_node", retryable: true });
    const hello = await port.hello("radar3", { sensor: "camera" });
    expect(await rejected(port, hello)).toEqual({ code: "unknown_sensor", retryable: true });
  });

  test("when its stream may have no tracker, or no port is left", async () => {
    await using strict = new FramePort({ autoProvision: false });
    expect(await rejected(strict, await strict.hello())).toEqual({
      code: "unknown_node",
      retryable: true,
    });
    await using small = new FramePort({ ports: 1 });
    const first = await small.session(await small.hello("first"));
    const second = await small.hello("second");
    expect(await rejected(small, second)).toEqual({ code: "ports_exhausted", retryable: true });
    first.send(lines(frame(1)));
    const tracker = await small.tracker("first.radar");
    await until(() => tracker.lines.length === 1);
  });

  test("while the coordinator stops", async () => {
    await using port = new FramePort();
    const hello = await port.hello();
    await port.manager.stop(port.clock.monotonicMs());
    expect(await rejected(port, hello)).toEqual({ code: "draining", retryable: true });
    expect(port.spawn.processes).toEqual([]);
  });

  test("when anything follows it before the welcome", async () => {
    await using port = new FramePort();
    const hello = encodeLine(await port.hello());
    const peer = await port.connect();
    peer.send(hello + lines(frame(1)));
    expect(await peer.next("reject")).toMatchObject({ code: "bad_hello" });
    expect(port.manager.list()).toEqual([]);
  });

  const meanwhile: readonly (readonly [string, boolean, (registry: Registry) => void])[] = [
    [
      "superseded",
      false,
      (registry) => registry.register(registration({ node_id: "radar3", instance_id: "i2" })),
    ],
    ["unknown_node", true, (registry) => registry.remove(nodeId("radar3"))],
    ["blocked", false, (registry) => registry.block(nodeId("radar3"))],
  ];
  test.each(meanwhile)(
    "as %s by what happens between the verdict and the welcome (R4, R9)",
    async (code, retryable, act) => {
      await using port = new FramePort();
      const hello = await port.hello("radar3", { instance_id: "i1" });
      const verifyAccess = port.auth.credentials.verifyAccess.bind(port.auth.credentials);
      port.auth.credentials.verifyAccess = async (token) => {
        const claims = await verifyAccess(token);
        const doNow = (): void => {
          void act(port.registry);
          port.commits.flush();
        };
        queueMicrotask(() => queueMicrotask(doNow));
        return claims;
      };
      expect(await rejected(port, hello)).toEqual({ code, retryable });
      await until(() => port.server.connections === 0);
    },
  );

  test("for a blocked node, whose open connections end (R4)", async () => {
    await using port = new FramePort();
    const hello = await port.hello("radar3", { instance_id: "i1" });
    const peer = await port.connect();
    peer.send(encodeLine(hello));
    await peer.next("welcome");
    port.registry.removed.add((nodes) => port.server.endNodes(nodes));
    await port.registry.block(nodeId("radar3"));
    expect(await peer.next("bye")).toMatchObject({ code: "token_revoked" });
    expect(await rejected(port, hello)).toEqual({ code: "blocked", retryable: false });
  });
});

test("a hello that fails to be checked closes its connection, and nothing else", async () => {
  await using port = new FramePort();
  const hello = await port.hello();
  port.auth.credentials.verifyAccess = () => Promise.reject(new Error("the database is gone"));
  const peer = await port.connect();
  peer.send(encodeLine(hello));
  await until(() => peer.closed);
  expect(peer.lines).toEqual([]);
  expect(port.log.count("hello failed")).toBe(1);
});

test("a hello may arrive in any pieces", async () => {
  await using port = new FramePort();
  const bytes = new TextEncoder().encode(encodeLine(await port.hello()));
  for (const cut of [1, 10, bytes.length - 1]) {
    const peer = await port.connect();
    peer.send(bytes.subarray(0, cut));
    await until(() => port.server.connections > 0);
    peer.send(bytes.subarray(cut, cut + 1));
    peer.send(bytes.subarray(cut + 1));
    await peer.next("welcome");
    peer.close();
  }
  const peer = await port.connect();
  for (const byte of bytes) peer.send(new Uint8Array([byte]));
  await peer.next("welcome");
});

describe("a connection that has not authenticated (T1)", () => {
  test("within 5 s is closed, not 1 ms before", async () => {
    await using port = new FramePort();
    const idle = port.clock.timers;
    const [silent, half, wrong] = [
      await port.connect(),
      await port.connect(),
      await port.connect(),
    ];
    await until(() => port.server.connections === 3);
    half.send(`{"type":"hello"`);
    wrong.send(lines(`{"node_id":"a","token":"no","type":"heartbeat"}`));
    await until(() => port.counts.get("refused_line") === 1);
    port.clock.advance(4999);
    expect(port.server.connections).toBe(3);
    port.clock.advance(1);
    await until(() => port.server.connections === 0);
    await until(() => silent.closed && half.closed && wrong.closed);
    expect(port.counts.get("auth_timeout")).toBe(3);
    expect(port.clock.timers).toBe(idle);
  });

  test("within 8 KiB is closed, in one line or in many", async () => {
    await using port = new FramePort();
    const long = await port.connect();
    long.send("x".repeat(8191));
    const many = await port.connect();
    for (let n = 0; n < 8; n++) many.send(lines("y".repeat(1023)));
    await until(() => port.counts.get("bad_json") === 8);
    expect([long.closed, many.closed]).toEqual([false, false]);
    long.send("x");
    many.send("y");
    await until(() => long.closed && many.closed);
    expect(port.counts.get("auth_bytes")).toBe(2);
  });

  test("has no such limits once it has authenticated", async () => {
    await using port = new FramePort();
    const plain = await port.connect();
    plain.send(lines(`{"node_id":"hill","token":"${PUSH}","type":"heartbeat"}`));
    const peer = await port.session();
    await until(() => port.registry.get(nodeId("hill")) !== undefined);
    port.clock.advance(29_999);
    plain.send(lines(...Array.from({ length: 30 }, () => "z".repeat(1000))));
    peer.send(lines(frame(1)));
    const tracker = await port.tracker("radar3.radar");
    await until(() => tracker.lines.length === 1 && port.counts.get("bad_json") === 30);
    expect([plain.closed, peer.closed]).toEqual([false, false]);
  });
});

describe("connections", () => {
  test("for one stream: the newer replaces the older, whose late close changes nothing (R9)", async () => {
    await using port = new FramePort();
    const hello = await port.hello();
    const older = await port.session(hello);
    const newer = await port.session(hello);
    expect(await older.next("bye")).toEqual({ type: "bye", code: "replaced" });
    await until(() => older.closed && port.server.connections === 1);
    expect(port.manager.get("radar3.radar" as never)?.state).toBe("RUNNING");
    await port.registry.register(registration({ node_id: "radar3", instance_id: "i9" }));
    expect(await newer.next("bye")).toEqual({ type: "bye", code: "superseded" });
  });

  test("that are paused for a slow tracker are replaced and ended like others (R9, T8)", async () => {
    await using port = new FramePort({ trackers: "deaf" });
    const hello = await port.hello();
    const older = await port.session(hello);
    const line = frame(1, { pad: "x".repeat(50_000) });
    older.send(lines(...Array.from({ length: 700 }, () => line)));
    const tracker = await port.tracker("radar3.radar");
    await port.until(() => port.manager.list()[0]!.queue.isFull);
    const newer = await port.session(hello);
    expect(await older.next("bye")).toEqual({ type: "bye", code: "replaced" });
    await until(() => older.closed && port.server.connections === 1);
    tracker.countOnly = true;
    tracker.reads(true);
    expect(newer.closed).toBe(false);
  });

  test("whose peer does not close its side are cut off 5 s after their end", async () => {
    await using port = new FramePort();
    const peer = connect({ host: "127.0.0.1", port: port.server.port, allowHalfOpen: true });
    const end = Promise.withResolvers<void>();
    peer.on("end", () => end.resolve());
    peer.resume();
    peer.write("x".repeat(9000));
    await end.promise;
    expect(port.counts.get("auth_bytes")).toBe(1);
    port.clock.advance(4999);
    expect(port.server.connections).toBe(1);
    port.clock.advance(1);
    await until(() => port.server.connections === 0);
    peer.destroy();
  });

  test("of a node all end when a newer instance registers, those of other nodes do not (R9)", async () => {
    await using port = new FramePort();
    const sensors = ["a", "b"].map((name) => ({ name, runtime: "sh", mode: "stream" as const }));
    const both: Peer[] = [];
    for (const { name } of sensors) {
      const hello = await port.hello("radar3", { sensor: name });
      await port.registry.register(registration({ node_id: "radar3", instance_id: "i1", sensors }));
      both.push(await port.session(hello));
    }
    const other = await port.session(await port.hello("hill"));
    await port.registry.register(registration({ node_id: "radar3", instance_id: "i2", sensors }));
    for (const peer of both) expect(await peer.next("bye")).toMatchObject({ code: "superseded" });
    other.send(lines(frame(1)));
    const tracker = await port.tracker("hill.radar");
    await until(() => tracker.lines.length === 1);
  });

  test("are sent bye at a stop, and no new ones are accepted (T6)", async () => {
    await using port = new FramePort();
    const peer = await port.session();
    const silent = await port.connect();
    await until(() => port.server.connections === 2);
    const at = port.server.port;
    await port.server.stop();
    expect(await peer.next("bye")).toEqual({ type: "bye", code: "draining" });
    await until(() => peer.closed && silent.closed);
    expect(
      await Bun.connect({ hostname: "127.0.0.1", port: at, socket: { data() {} } }).then(
        () => "connected",
        () => "refused",
      ),
    ).toBe("refused");
  });

  test("are closed after an internal error, and the others continue", async () => {
    await using port = new FramePort();
    const peer = await port.session();
    const other = await port.session(await port.hello("hill"));
    const heard = port.registry.heard.bind(port.registry);
    port.registry.heard = (id, counters) => {
      if (id === "radar3") throw new Error("a bug");
      heard(id, counters);
    };
    peer.send(lines(frame(1)));
    await until(() => peer.closed && port.server.connections === 1);
    expect(port.log.count("frame connection failed")).toBe(1);
    other.send(lines(frame(1)));
    const tracker = await port.tracker("hill.radar");
    await until(() => tracker.lines.length === 1);
  });
});

test("garbage of any kind changes nothing for the others", async () => {
  await using port = new FramePort();
  const peer = await port.session();
  const garbage = [
    "\0\0\0\0\n".repeat(50),
    "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n",
    lines("null", "[]", "1", `"hello"`, `{"type":"hello"}`, "{", "}"),
    `${"[".repeat(8000)}\n`,
    "\n".repeat(9000),
  ];
  for (const text of garbage) (await port.connect()).send(Buffer.from(text, "latin1"));
  await until(() => port.server.connections >= 1);
  port.clock.advance(5000);
  await until(() => port.server.connections === 1);
  peer.send(lines(frame(1)));
  const tracker = await port.tracker("radar3.radar");
  await until(() => tracker.lines.length === 1);
  expect(
    port.db
      .select()
      .from(knownNodes)
      .all()
      .map((n) => n.nodeId),
  ).toEqual(["radar3"]);
});
