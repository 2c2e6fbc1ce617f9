import { describe, expect, test } from "bun:test";
import { streamId } from "../testing.ts";
import { PortPool } from "./port-pool.ts";

const [A, B, C] = [streamId("a.s"), streamId("b.s"), streamId("c")];

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

  test("run out, and come back when one is released", () => {
    const pool = poolOf();
    pool.lease(A);
    pool.lease(B);
    expect(pool.lease(C)).toBeUndefined();
    pool.release(A);
    pool.release(A);
    expect(pool.lease(C)).toBe(31_000);
    expect(pool.portOf(A)).toBeUndefined();
  });

  test("skip ports somebody else listens on", () => {
    expect(poolOf(new Set([31_000])).lease(A)).toBe(31_001);
    expect(poolOf(new Set([31_000, 31_001])).lease(A)).toBeUndefined();
  });

  test("move when the held port is taken, and stay when there is no other", () => {
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

  test("see what really listens on the loopback address", () => {
    const taken = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    expect(new PortPool(taken.port, taken.port).lease(A)).toBeUndefined();
    taken.stop(true);
    expect(new PortPool(taken.port, taken.port).lease(A)).toBe(taken.port);
  });
});
