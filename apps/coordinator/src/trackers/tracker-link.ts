/**
 * The connection into one run of a tracker: opened when the tracker listens, watched for what the tracker reads, drained
 * before a stop. A run has one connection; when that ends, the run is of no use any more. Made by Tracker. (T5, T6)
 */
import { type Clock, sleep } from "@fleet/daemon";
import type { Receiver, Sink } from "./receiver.ts";
import type { Unread } from "./unread.ts";

const LOOPBACK = "127.0.0.1";
/** How often a starting tracker's port is tried. */
const CONNECT_RETRY_MS = 20;
const DRAIN_LOOK_MS = 50;

/** What a link connects, and whom it tells. */
export interface LinkOptions {
  readonly clock: Clock;
  readonly unread: Unread;
  readonly receiver: Receiver;
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
  /** Bytes the tracker had read when it was last seen reading, or with nothing to read. */
  #read = { bytes: 0, atMs: 0 };

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

  /** What the tracker was given and has not read. Undefined when that can't be known; 0 without a connection. */
  unread(): number | undefined {
    const socket = this.#socket;
    if (socket === undefined) return 0;
    return this.#options.unread.of(socket.localPort, socket.remotePort);
  }

  /** Lets the receiver forget what was read. Gives for how long the tracker has read nothing that was there for it, ms. */
  look(): number {
    const { receiver, clock } = this.#options;
    const unread = this.unread();
    if (this.#at !== "up" || unread === undefined) return 0;
    receiver.wasRead(unread);
    const bytes = receiver.bytesWritten - unread;
    const nowMs = clock.monotonicMs();
    if (unread === 0 || bytes > this.#read.bytes) this.#read = { bytes, atMs: nowMs };
    return nowMs - this.#read.atMs;
  }

  /** Until nothing waits and the tracker has read all that it was given, or `untilMs`. True when it has. */
  async drain(untilMs: number): Promise<boolean> {
    if (this.#at !== "up") return false;
    const { clock, receiver } = this.#options;
    const cut = new AbortController();
    const timer = clock.after(Math.max(0, untilMs - clock.monotonicMs()), () => cut.abort());
    const isCut = new Promise<void>((resolve) => {
      cut.signal.addEventListener("abort", () => resolve());
    });
    await Promise.race([receiver.whenIdle(), isCut]);
    while (!cut.signal.aborted && (this.unread() ?? 0) > 0)
      await sleep(clock, DRAIN_LOOK_MS, cut.signal).catch(() => {});
    timer.cancel();
    return !cut.signal.aborted && this.unread() === 0;
  }

  /** Says that nothing more comes. */
  end(): void {
    this.#socket?.end();
  }

  /** Gives it up, whatever is under way. */
  close(): void {
    this.#at = "closed";
    const socket = this.#socket;
    if (socket === undefined) return;
    this.#socket = undefined;
    this.#options.receiver.disconnect(socket);
    socket.terminate();
  }

  async #connect(): Promise<void> {
    const { clock, receiver, port, onUp, onHungUp, onError } = this.#options;
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
          onUp();
          receiver.onMuch = () => this.look();
          receiver.connect(socket);
        },
        drain: (socket) => receiver.drained(socket as Sink),
        // A tracker speaks on stdout; what it says here is not read.
        data: () => {},
        close: (socket) => {
          receiver.disconnect(socket);
          if (this.#socket !== socket) return;
          this.#socket = undefined;
          this.#at = "closed";
          onHungUp();
        },
        error: (_socket, error) => onError(error),
      },
    });
  }
}
