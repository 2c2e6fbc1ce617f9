import { describe, expect, test } from "bun:test";
import { FakeClock } from "@fleet/daemon/testing";
import { until } from "../../testing.ts";
import { SocketBacklog } from "./socket-backlog.ts";

const HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n";
const EMPTY = "00000000:00000000";

function table(...rows: readonly string[]): Buffer {
  return Buffer.from(HEAD + rows.map((row, i) => `${i}: ${row} 00:00000000\n`).join(""));
}

describe("the backlog of a tracker (T5)", () => {
  test("is what both ends of its connection hold, in whichever table they are", () => {
    const tables: Record<string, Buffer> = {
      "/proc/net/tcp": table(
        `0100007F:1F90 00000000:0000 0A ${EMPTY}`,
        `0100007F:A000 0100007F:1F90 01 00000010:00000000`,
        `0100007F:A001 0100007F:1F90 01 ${EMPTY}`,
        `0200A8C0:A000 0100007F:1F91 01 00000010:00000000`,
      ),
      "/proc/net/tcp6": table(
        `0000000000000000FFFF00000100007F:1F90 0000000000000000FFFF00000100007F:A000 01 00000000:00000005`,
      ),
    };
    const clock = new FakeClock();
    const backlog = new SocketBacklog(clock, (path) => tables[path]!);
    const readings = new Map<string, number | undefined>();
    const connections = [
      [0xa000, 0x1f90],
      [0xa001, 0x1f90],
      [0x1f90, 0xa000],
      [0xa000, 0x1f91],
    ] as const;
    for (const [from, to] of connections)
      backlog.watch(from, to, (bytes) => readings.set(`${from} ${to}`, bytes));
    backlog.requestReading();
    expect(readings.size).toBe(0);
    clock.advance(0);
    // What the tracker sends back is not reported to any watcher.
    expect([...readings.values()]).toEqual([21, 0, 0, 0]);
  });

  test("is read again only after a while, and unknown without a table", () => {
    const clock = new FakeClock();
    let reads = 0;
    const backlog = new SocketBacklog(clock, () => {
      reads++;
      throw new Error("ENOENT");
    });
    const readings: unknown[] = [];
    const stop = backlog.watch(1, 2, (bytes) => readings.push(bytes));
    for (let i = 0; i < 9; i++) backlog.requestReading();
    clock.advance(0);
    expect([reads, readings]).toEqual([2, [undefined]]);
    backlog.requestReading();
    clock.advance(19);
    expect(reads).toBe(2);
    clock.advance(1);
    expect([reads, readings]).toEqual([4, [undefined, undefined]]);
    stop();
    backlog.requestReading();
    clock.advance(100);
    expect(readings).toHaveLength(2);
  });

  test("is found for a real connection, and zero once it is read", async () => {
    let reader: Bun.Socket | undefined;
    const server = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        open(socket) {
          reader = socket;
          socket.pause();
        },
        data() {},
      },
    });
    const client = await Bun.connect({
      hostname: "127.0.0.1",
      port: server.port,
      socket: { data() {} },
    });
    await until(() => reader !== undefined);
    client.write("x".repeat(1000));
    const clock = new FakeClock();
    const backlog = new SocketBacklog(clock);
    let waiting: number | undefined;
    backlog.watch(client.localPort, server.port, (bytes) => (waiting = bytes));
    const look = (): void => {
      backlog.requestReading();
      clock.advance(20);
    };
    look();
    expect(waiting).toBe(1000);
    reader!.resume();
    await until(() => waiting === 0, look);
    client.terminate();
    server.stop(true);
  });
});
