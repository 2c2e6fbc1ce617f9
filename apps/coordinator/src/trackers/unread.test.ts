import { describe, expect, test } from "bun:test";
import { FakeClock } from "@fleet/daemon/testing";
import { until } from "../testing.ts";
import { Unread } from "./unread.ts";

const HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n";
const EMPTY = "00000000:00000000";

function table(...rows: readonly string[]): Buffer {
  return Buffer.from(HEAD + rows.map((row, i) => `${i}: ${row} 00:00000000\n`).join(""));
}

describe("what a tracker has not read (T5)", () => {
  test("is what both ends of its connection hold, whichever table they stand in", () => {
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
    const unread = new Unread(new FakeClock(), (path) => tables[path]!);
    expect(unread.of(0xa000, 0x1f90)).toBe(21);
    expect(unread.of(0xa001, 0x1f90)).toBe(0);
    // What the tracker sends back is nobody's.
    expect(unread.of(0x1f90, 0xa000)).toBe(0);
    expect(unread.of(0xa000, 0x1f91)).toBe(0);
  });

  test("is read again only after a while, and unknown where there is no such table", () => {
    const clock = new FakeClock();
    let reads = 0;
    const unread = new Unread(clock, () => {
      reads++;
      throw new Error("ENOENT");
    });
    for (let i = 0; i < 9; i++) expect(unread.of(1, 2)).toBeUndefined();
    expect(reads).toBe(2);
    clock.advance(20);
    unread.of(1, 2);
    expect(reads).toBe(4);
  });

  test("is found for a real connection, and gone once it is read", async () => {
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
    const unread = new Unread(clock);
    const waiting = (): number | undefined => {
      clock.advance(20);
      return unread.of(client.localPort, server.port);
    };
    expect(waiting()).toBe(1000);
    reader!.resume();
    await until(() => waiting() === 0);
    client.terminate();
    server.stop(true);
  });
});
