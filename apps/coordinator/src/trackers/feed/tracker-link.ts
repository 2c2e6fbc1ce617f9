/**
 * The connection into one run of a tracker: opened when the tracker listens, watched for what the tracker reads, drained
 * before a stop. A run has one connection; when that ends, the run is of no use any more. Made by Tracker. (T5, T6)
 */
import { type Clock, sleep } from "@fleet/daemon";
import type { FrameQueue, Sink } from "./frame-queue.ts";
import type { SocketBacklog } from "./socket-backlog.ts";

const LOOPBACK = "127.0.0.1";
/** How often a starting tracker's port is tried. */
const CONNECT_RETRY_MS = 20;

/** What a link connects, and whom it tells. */
export interface LinkOptions {
  readonly clock: Clock;
  readonly backlog: SocketBacklog;
  readonly queue: FrameQueue;
  readonly port: number;
  /** The tracker listens; the receiver is connected when this returns. */
  readonly onUp: () => void;
  /** The tracker has hung up. */
  readonly onHungUp: () => void;
  readonly onError: (error: Error) => void;
}

/** See the head of this file. */
export class TrackerLink {
  readonly #options: LinkOptions;
  #at: "opening" | "up" | "closed" = "opening";
  #socket: Bun.Socket | undefined;
  #upMs: number | undefined;
  /** What the tracker was given and has not read, at the last reading, and when that was. */
  #backlog: number | undefined = 0;
  #hasStalled = false;
  #seenMs = 0;
  /** Bytes the tracker had read when it was last seen reading, or with nothing to read. */
  #read = { bytes: 0, atMs: 0 };
  #stopWatching: () => void = () => {};
  readonly #waiting: (() => void)[] = [];
  readonly #cut = new AbortController();

  constructor(options: LinkOptions) {
    this.#options = options;
  }

  get isUp(): boolean {
    return this.#at === "up";
  }

  /** How long it was, or has been, up, ms. Undefined when it never was. */
  get upForMs(): number | undefined {
    return this.#upMs === undefined ? undefined : this.#options.clock.monotonicMs() - this.#upMs;
  }

  /** Tries the port until the tracker listens, or the link is closed. */
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

  /** Whether the tracker has been found to read nothing. */
  get hasStalled(): boolean {
    return this.#hasStalled;
  }

  /** Whether the tracker had read nothing that was there for it for `limitMs` at the last reading; asks for another. */
  stalls(limitMs: number): boolean {
    if (this.#at !== "up") return false;
    this.#options.backlog.ask();
    this.#hasStalled = this.#backlog !== 0 && this.#seenMs - this.#read.atMs >= limitMs;
    return this.#hasStalled;
  }

  /** Until nothing waits and the tracker has read all that it was given, or `untilMs`. True when it has. */
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
      backlog.ask();
      const isTold = new Promise<void>((resolve) => this.#waiting.push(resolve));
      await Promise.race([isTold, isCut]);
    } while (this.#at === "up" && !signal.aborted && (this.#backlog ?? 0) > 0);
    timer.cancel();
    return !signal.aborted && this.#at === "up" && this.#backlog === 0;
  }

  /** Ends a drain before its time, and with it the connection. */
  cutDrain(): void {
    this.#cut.abort();
    this.end();
  }

  /** Says that nothing more comes. */
  end(): void {
    this.#socket?.end();
  }

  /** Gives it up, whatever is under way. */
  close(): void {
    this.#over();
    const socket = this.#socket;
    if (socket === undefined) return;
    this.#socket = undefined;
    this.#options.queue.disconnect(socket);
    socket.terminate();
  }

  #saw(backlog: number | undefined): void {
    const { queue, clock } = this.#options;
    const bytes = queue.bytesWritten - (backlog ?? 0);
    const hadNothing = (this.#backlog ?? 0) === 0;
    this.#seenMs = clock.monotonicMs();
    if (backlog === undefined || hadNothing || bytes > this.#read.bytes)
      this.#read = { bytes, atMs: this.#seenMs };
    this.#backlog = backlog;
    queue.wasRead(backlog);
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #over(): void {
    this.#at = "closed";
    this.#stopWatching();
    for (const resolve of this.#waiting.splice(0)) resolve();
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
          this.#read = { bytes: 0, atMs: this.#upMs };
          this.#stopWatching = backlog.watch(socket.localPort, port, (bytes) => this.#saw(bytes));
          onUp();
          queue.onMuch = () => backlog.ask();
          queue.connect(socket);
        },
        drain: (socket) => queue.drained(socket as Sink),
        // A tracker speaks on stdout; what it says here is not read.
        data: () => {},
        close: (socket) => {
          queue.disconnect(socket);
          if (this.#socket !== socket) return;
          this.#socket = undefined;
          this.#over();
          onHungUp();
        },
        error: (_socket, error) => onError(error),
      },
    });
  }
}
