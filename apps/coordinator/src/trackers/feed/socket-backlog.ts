/**
 * How much of what a tracker was given still lies in the kernel, unread: what our end of the connection has not delivered,
 * and what the tracker's end has received. Read from /proc/net/tcp and tcp6 for all connections of the loopback at once,
 * so asking for 500 trackers costs the same as for one: about 2 µs for each connection of the machine. (T5, T6)
 */
import { readFileSync } from "node:fs";
import type { Clock, Timer } from "@fleet/daemon";

/** Between two readings, ms; and how many times longer than one takes, so that they can't keep us busy. */
const FRESH_MS = 20;
const FRESH_COSTS = 10;
const TABLES = ["/proc/net/tcp", "/proc/net/tcp6"];
const LF = 10;
const ZERO = 48;
const COLON = 58;
/** In a row: `sl: local:port remote:port st tx:rx …`, all hex; an address has 8 digits in the first table, 32 in the other. */
const ROW =
  /: [0-9A-F]*0100007F:([0-9A-F]{4}) [0-9A-F]*0100007F:([0-9A-F]{4}) [0-9A-F]{2} ([0-9A-F]{8}):([0-9A-F]{8})/;
const QUEUE_DIGITS = 8;

/** What a watcher is told: bytes that were sent and that the process at the other end has not read; undefined where the system does not tell. */
export type OnUnread = (bytes: number | undefined) => void;

/** See the head of this file. */
export class SocketBacklog {
  readonly #clock: Clock;
  readonly #read: (path: string) => Buffer;
  readonly #watchers = new Map<number, OnUnread>();
  #freshUntilMs = Number.NEGATIVE_INFINITY;
  #timer: Timer | undefined;

  constructor(clock: Clock, read: (path: string) => Buffer = (path) => readFileSync(path)) {
    this.#clock = clock;
    this.#read = read;
  }

  /** Tells of a connection from `fromPort` to `toPort` at each reading, until the returned function is called. */
  watch(fromPort: number, toPort: number, onUnread: OnUnread): () => void {
    const connection = key(fromPort, toPort);
    this.#watchers.set(connection, onUnread);
    return () => {
      if (this.#watchers.get(connection) === onUnread) this.#watchers.delete(connection);
    };
  }

  /** Asks for a reading: all watchers hear of it soon, never within this call. */
  ask(): void {
    if (this.#timer !== undefined) return;
    const waitMs = Math.max(0, this.#freshUntilMs - this.#clock.monotonicMs());
    this.#timer = this.#clock.after(waitMs, () => {
      this.#timer = undefined;
      this.#tell();
    });
  }

  #tell(): void {
    const startMs = this.#clock.monotonicMs();
    const waiting = this.#readTables();
    const endMs = this.#clock.monotonicMs();
    this.#freshUntilMs = endMs + Math.max(FRESH_MS, FRESH_COSTS * (endMs - startMs));
    for (const [connection, onUnread] of this.#watchers)
      onUnread(waiting === undefined ? undefined : (waiting.get(connection) ?? 0));
  }

  /** Bytes on their way, by connection; those without any are left out. */
  #readTables(): ReadonlyMap<number, number> | undefined {
    const waiting = new Map<number, number>();
    let tables = 0;
    for (const path of TABLES) {
      let table: Buffer;
      try {
        table = this.#read(path);
      } catch {
        // Without IPv6 there is only the first.
        continue;
      }
      tables++;
      addRows(waiting, table);
    }
    return tables === 0 ? undefined : waiting;
  }
}

function addRows(waiting: Map<number, number>, table: Buffer): void {
  let start = table.indexOf(LF) + 1;
  for (;;) {
    const end = table.indexOf(LF, start);
    if (end < 0) return;
    if (hasBytes(table, start, end)) addRow(waiting, table.toString("latin1", start, end));
    start = end + 1;
  }
}

/** Nearly all rows have empty queues: these are found out without a string. The queues stand about the fourth colon. */
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

function addRow(waiting: Map<number, number>, row: string): void {
  const [, local, remote, sending, received] = ROW.exec(row) ?? [];
  if (local === undefined) return;
  const [here, there] = [Number.parseInt(local, 16), Number.parseInt(remote!, 16)];
  const add = (connection: number, hex: string): void => {
    const bytes = Number.parseInt(hex, 16);
    if (bytes > 0) waiting.set(connection, (waiting.get(connection) ?? 0) + bytes);
  };
  add(key(here, there), sending!);
  add(key(there, here), received!);
}

function key(fromPort: number, toPort: number): number {
  return fromPort * 65_536 + toPort;
}
