/**
 * Reads how many bytes that were sent to a tracker still lie in the kernel, unread: those our end of the connection has not
 * delivered and those the tracker's end has received. One reading of /proc/net/tcp and tcp6 covers all connections of the
 * loopback, at about 2 µs for each connection of the machine, so 500 trackers cost the same as one. (T5, T6)
 */
import { readFileSync } from "node:fs";
import type { Clock, Timer } from "@fleet/daemon";

/** The least time between two readings, ms. */
const INTERVAL_MS_MIN = 20;
/** The least time between two readings, as a multiple of what a reading takes, so that they use little of the CPU. */
const INTERVAL_COSTS_MIN = 10;
const TABLES = ["/proc/net/tcp", "/proc/net/tcp6"];
const LF = 10;
const ZERO = 48;
const COLON = 58;
/** A row is `sl: local:port remote:port st tx:rx …`, all hex; an address has 8 digits in the first table, 32 in the second. */
const ROW =
  /: [0-9A-F]*0100007F:([0-9A-F]{4}) [0-9A-F]*0100007F:([0-9A-F]{4}) [0-9A-F]{2} ([0-9A-F]{8}):([0-9A-F]{8})/;
const QUEUE_DIGITS = 8;

/** Receives the number of bytes that the process at the other end has not read; undefined when the system does not report it. */
export type OnUnread = (bytes: number | undefined) => void;

/** Reads the backlog of every watched connection. All trackers of a coordinator share one. */
export class SocketBacklog {
  readonly #clock: Clock;
  readonly #read: (path: string) => Buffer;
  readonly #watchers = new Map<number, OnUnread>();
  #nextReadingMs = Number.NEGATIVE_INFINITY;
  #timer: Timer | undefined;

  constructor(clock: Clock, read: (path: string) => Buffer = (path) => readFileSync(path)) {
    this.#clock = clock;
    this.#read = read;
  }

  /** Reports the backlog of the connection from `fromPort` to `toPort` at each reading, until the returned function is called. */
  watch(fromPort: number, toPort: number, onUnread: OnUnread): () => void {
    const connection = key(fromPort, toPort);
    this.#watchers.set(connection, onUnread);
    return () => {
      if (this.#watchers.get(connection) === onUnread) this.#watchers.delete(connection);
    };
  }

  /** Requests a reading. All watchers receive its result soon, never within this call. */
  requestReading(): void {
    if (this.#timer !== undefined) return;
    const waitMs = Math.max(0, this.#nextReadingMs - this.#clock.monotonicMs());
    this.#timer = this.#clock.after(waitMs, () => {
      this.#timer = undefined;
      this.#report();
    });
  }

  #report(): void {
    const startMs = this.#clock.monotonicMs();
    const unread = this.#readTables();
    const endMs = this.#clock.monotonicMs();
    this.#nextReadingMs = endMs + Math.max(INTERVAL_MS_MIN, INTERVAL_COSTS_MIN * (endMs - startMs));
    for (const [connection, onUnread] of this.#watchers)
      onUnread(unread === undefined ? undefined : (unread.get(connection) ?? 0));
  }

  /** Unread bytes by connection; connections without any are left out. Undefined when no table can be read. */
  #readTables(): ReadonlyMap<number, number> | undefined {
    const unread = new Map<number, number>();
    let tables = 0;
    for (const path of TABLES) {
      let table: Buffer;
      try {
        table = this.#read(path);
      } catch {
        // Without IPv6 only the first table exists.
        continue;
      }
      tables++;
      addRows(unread, table);
    }
    return tables === 0 ? undefined : unread;
  }
}

function addRows(unread: Map<number, number>, table: Buffer): void {
  let start = table.indexOf(LF) + 1;
  for (;;) {
    const end = table.indexOf(LF, start);
    if (end < 0) return;
    if (hasBytes(table, start, end)) addRow(unread, table.toString("latin1", start, end));
    start = end + 1;
  }
}

/** Whether a row has unread bytes. Nearly none has, so this makes no string. The two queues stand around the fourth colon. */
function hasBytes(table: Buffer, start: number, end: number): boolean {
  let at = start - 1;
  for (let colons = 0; colons < 4; colons++) {
    at = table.indexOf(COLON, at + 1);
    if (at < 0 || at >= end) return false;
  }
  for (let i = at - QUEUE_DIGITS; i <= at + QUEUE_DIGITS; i++) {
    if (table[i] !== ZERO && i !== at) return true;
  }
  return false;
}

function addRow(unread: Map<number, number>, row: string): void {
  const [, local, remote, sending, received] = ROW.exec(row) ?? [];
  if (local === undefined) return;
  const [here, there] = [Number.parseInt(local, 16), Number.parseInt(remote!, 16)];
  const add = (connection: number, hex: string): void => {
    const bytes = Number.parseInt(hex, 16);
    if (bytes > 0) unread.set(connection, (unread.get(connection) ?? 0) + bytes);
  };
  add(key(here, there), sending!);
  add(key(there, here), received!);
}

function key(fromPort: number, toPort: number): number {
  return fromPort * 65_536 + toPort;
}
