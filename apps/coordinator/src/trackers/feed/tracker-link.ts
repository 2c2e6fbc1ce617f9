/**
 * The connection into one run of a tracker: opens it when the tracker listens, watches what the tracker reads, drains it
 * before a stop. A run has one connection; when that closes, the run is useless. TrackerProcess creates one for each run.
 * (T5, T6)
 *
 *   opening ──▶ up ──▶ closed;   opening ──▶ closed
 */
import { type Clock, sleep } from "@fleet/daemon";
import type { FrameQueue, Sink } from "./frame-queue.ts";
import type { SocketBacklog } from "./socket-backlog.ts";

const LOOPBACK = "127.0.0.1";
/** The time between two attempts to connect to a tracker that is starting. */
const CONNECT_RETRY_MS = 20;

/** What a link connects, and its listeners. */
export interface LinkOptions {
  readonly clock: Clock;
  readonly backlog: SocketBacklog;
  readonly queue: FrameQueue;
  readonly port: number;
  /** The tracker listens. The queue is connected as soon as this returns. */
  readonly onUp: () => void;
  /** The tracker has closed the connection. */
  readonly onHungUp: () => void;
  readonly onError: (error: Error) => void;
}

/** One connection, for one run. */
export class TrackerLink {
  readonly #options: LinkOptions;
  #at: "opening" | "up" | "closed" = "opening";
  #socket: Bun.Socket | undefined;
  #upMs: number | undefined;
  /** Bytes sent and not read, at the last reading; undefined when the system does not report it. */
  #unreadBytes: number | undefined = 0;
  /** When the last reading was. */
  #readingAtMs = 0;
  /** Bytes that the tracker had read when a reading last found progress, or nothing to read. */
  #progress = { bytes: 0, atMs: 0 };
  #hasStalled = false;
  #stopWatching: () => void = () => {};
  readonly #readingWaiters: (() => void)[] = [];
  /** Aborted when a drain is cut short. */
  readonly #cut = new AbortController();

  constructor(options: LinkOptions) {
    this.#options = options;
  }

  get isUp(): boolean {
    return this.#at === "up";
  }

  /** Milliseconds since the connection was opened; undefined when it never was. */
  get upForMs(): number | undefined {
    return this.#upMs === undefined ? undefined : this.#options.clock.monotonicMs() - this.#upMs;
  }

  /** Connects again and again until the tracker listens or the link is closed. */
  async open(): Promise<void> {
    while (this.#at === "opening") {
      try {
        await this.#connect();
        return;
      } catch {
        await sleep(this.#options.clock, CONNECT_RETRY_MS);
      }
    }
  }

  /** Whether `stalls` has found the tracker stalled. */
  get hasStalled(): boolean {
    return this.#hasStalled;
  }

  /** Whether at the last reading the tracker had read nothing of its backlog for `limitMs`. Requests another reading. */
  stalls(limitMs: number): boolean {
    if (this.#at !== "up") return false;
    this.#options.backlog.requestReading();
    this.#hasStalled =
      this.#unreadBytes !== 0 && this.#readingAtMs - this.#progress.atMs >= limitMs;
    return this.#hasStalled;
  }

  /** Waits until the queue is empty and the tracker has read everything, or until `untilMs` (monotonic). Returns whether it has. */
  async drain(untilMs: number): Promise<boolean> {
    if (this.#at !== "up") return false;
    const { clock, queue, backlog } = this.#options;
    const { signal } = this.#cut;
    const timer = clock.after(Math.max(0, untilMs - clock.monotonicMs()), () => this.cutDrain());
    const isCut = new Promise<void>((resolve) => {
      signal.addEventListener("abort", () => resolve());
    });
    await Promise.race([queue.whenIdle(), isCut]);
    do {
      backlog.requestReading();
      const reading = new Promise<void>((resolve) => this.#readingWaiters.push(resolve));
      await Promise.race([reading, isCut]);
    } while (this.#at === "up" && !signal.aborted && (this.#unreadBytes ?? 0) > 0);
    timer.cancel();
    return !signal.aborted && this.#at === "up" && this.#unreadBytes === 0;
  }

  /** Cuts a drain short and ends the connection. */
  cutDrain(): void {
    this.#cut.abort();
    this.end();
  }

  /** Half-closes the connection, so that the tracker sees the end of its input. */
  end(): void {
    this.#socket?.end();
  }

  /** Closes the connection at once, or stops opening it. */
  close(): void {
    this.#markClosed();
    const socket = this.#socket;
    if (socket === undefined) return;
    this.#socket = undefined;
    this.#options.queue.disconnect(socket);
    socket.terminate();
  }

  #onReading(unreadBytes: number | undefined): void {
    const { queue, clock } = this.#options;
    const bytes = queue.bytesAccepted - (unreadBytes ?? 0);
    const hadNothing = (this.#unreadBytes ?? 0) === 0;
    this.#readingAtMs = clock.monotonicMs();
    if (unreadBytes === undefined || hadNothing || bytes > this.#progress.bytes)
      this.#progress = { bytes, atMs: this.#readingAtMs };
    this.#unreadBytes = unreadBytes;
    queue.noteUnread(unreadBytes);
    for (const resolve of this.#readingWaiters.splice(0)) resolve();
  }

  #markClosed(): void {
    this.#at = "closed";
    this.#stopWatching();
    for (const resolve of this.#readingWaiters.splice(0)) resolve();
  }

  async #connect(): Promise<void> {
    const { clock, queue, backlog, port, onUp, onHungUp, onError } = this.#options;
    await Bun.connect({
      hostname: LOOPBACK,
      port,
      socket: {
        open: (socket) => {
          if (this.#at !== "opening") {
            socket.terminate();
            return;
          }
          this.#at = "up";
          this.#socket = socket;
          this.#upMs = clock.monotonicMs();
          this.#progress = { bytes: 0, atMs: this.#upMs };
          this.#stopWatching = backlog.watch(socket.localPort, port, (bytes) =>
            this.#onReading(bytes),
          );
          onUp();
          queue.onReadingDue = () => backlog.requestReading();
          queue.connect(socket);
        },
        drain: (socket) => queue.drained(socket as Sink),
        // Trackers print their events on stdout; what they send here is ignored.
        data: () => {},
        close: (socket) => {
          queue.disconnect(socket);
          if (this.#socket !== socket) return;
          this.#socket = undefined;
          this.#markClosed();
          onHungUp();
        },
        error: (_socket, error) => onError(error),
      },
    });
  }
}
