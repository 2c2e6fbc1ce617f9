import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { streamId, until } from "../testing.ts";
import { PortPool } from "./port-pool.ts";

const [A, B, C] = [streamId("a.s"), streamId("b.s"), streamId("c")];

const TIME_WAIT = "06";

/** The states of all connections from `port` of the loopback, as the kernel lists them. (proc(5)) */
function tcpStates(port: number): string[] {
  const own = `0100007F:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const rows = readFileSync("/proc/net/tcp", "utf8").split("\n");
  return rows
    .map((row) => row.trim().split(/\s+/))
    .flatMap(([, at, , state]) => (at === own ? [state!] : []));
}

function poolOf(busy: ReadonlySet<number> = new Set()): PortPool {
  return new PortPool(31_000, 31_001, (port) => !busy.has(port));
}

describe("port leases (T3)", () => {
  test("are the lowest free ports, one for each stream, and stay", () => {
    const pool = poolOf();
    expect([pool.lease(A), pool.lease(B), pool.lease(A)]).toEqual([31_000, 31_001, 31_000]);
    expect([pool.leased, pool.size, pool.portOf(B), pool.portOf(C)]).toEqual([
      2,
      2,
      31_001,
      undefined,
    ]);
  });

  test("run out, and are available again when released", () => {
    const pool = poolOf();
    pool.lease(A);
    pool.lease(B);
    expect(pool.lease(C)).toBeUndefined();
    pool.release(A);
    pool.release(A);
    expect(pool.lease(C)).toBe(31_000);
    expect(pool.portOf(A)).toBeUndefined();
  });

  test("skip ports that another process listens on", () => {
    expect(poolOf(new Set([31_000])).lease(A)).toBe(31_001);
    expect(poolOf(new Set([31_000, 31_001])).lease(A)).toBeUndefined();
  });

  test("move when the held port is taken, and stay when no other is free", () => {
    const busy = new Set<number>();
    const pool = poolOf(busy);
    pool.lease(A);
    busy.add(31_000);
    expect(pool.lease(A)).toBe(31_001);
    expect(pool.leased).toBe(1);
    busy.add(31_001);
    expect(pool.lease(A)).toBeUndefined();
    busy.delete(31_001);
    expect(pool.lease(A)).toBe(31_001);
  });

  test("are restored as they were, within the range, each to one stream", () => {
    const pool = poolOf();
    expect(pool.restore(A, 31_001)).toBe(true);
    expect(pool.restore(B, 31_001)).toBe(false);
    expect(pool.restore(B, 30_999)).toBe(false);
    expect(pool.restore(B, 31_002)).toBe(false);
    expect(pool.lease(A)).toBe(31_001);
    expect(pool.lease(B)).toBe(31_000);
  });

  test("include a port whose last connection is in TIME_WAIT", async () => {
    const hanging = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: { data() {}, open: (socket) => void socket.end() },
    });
    const { port } = hanging;
    let isClosed = false;
    await Bun.connect({
      hostname: "127.0.0.1",
      port,
      socket: {
        data() {},
        end: (socket) => void socket.end(),
        close: () => void (isClosed = true),
      },
    });
    // The end that closes first enters TIME_WAIT.
    await until(() => isClosed);
    hanging.stop(true);
    await until(() => tcpStates(port).every((state) => state === TIME_WAIT));
    expect(tcpStates(port)).toEqual([TIME_WAIT]);
    expect(new PortPool(port, port).lease(A)).toBe(port);
  });

  test("skip a port that an outgoing connection uses", async () => {
    const server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    const client = await Bun.connect({
      hostname: "127.0.0.1",
      port: server.port,
      socket: { data() {} },
    });
    expect(new PortPool(client.localPort, client.localPort).lease(A)).toBeUndefined();
    client.terminate();
    server.stop(true);
  });

  test("depend on what listens on the loopback address", () => {
    const taken = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    expect(new PortPool(taken.port, taken.port).lease(A)).toBeUndefined();
    taken.stop(true);
    expect(new PortPool(taken.port, taken.port).lease(A)).toBe(taken.port);
  });
});
