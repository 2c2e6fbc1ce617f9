/**
 * The port frames come in by. One client is served at a time; others are accepted and wait, unread, in the order they
 * came, so their data stays in the kernel and TCP holds them back. The current client is not read either while what it
 * sent is still being worked on. Built by `main.ts`.
 *
 *   idle → listening → draining (no new clients; what has arrived is still read) → stopped
 */
import type { Clock } from "@fleet/daemon";
import type { Socket, TCPSocketListener } from "bun";

/** Clients that may wait; one more is closed at once. */
export const WAITING_MAX = 16;
/** A peer that vanished without a word is noticed by probes that begin after this silence. */
const KEEPALIVE_MS = 30_000;
/** While draining, a client silent for this long has nothing more on its way. */
const QUIET_MS = 20;

type State =
  | { readonly at: "idle" | "stopped" }
  | { readonly at: "listening" | "draining"; readonly listener: TCPSocketListener };

/** Who hears of the clients. */
export interface TcpInputEvents {
  /** A client's turn has come. */
  onClient(): void;
  /** Bytes of the current client; valid during the call. The next come when the promise, if any, is fulfilled. */
  onData(chunk: Uint8Array): Promise<void> | undefined;
  /** The current client has gone. */
  onClientEnd(): void;
}

export class TcpInput {
  readonly #clock: Clock;
  readonly #events: TcpInputEvents;
  #state: State = { at: "idle" };
  #current: Socket | undefined;
  #waiting: Socket[] = [];
  #work: Promise<void> | undefined;
  #lastDataMs = 0;
  #stopping: Promise<void> | undefined;

  constructor(clock: Clock, events: TcpInputEvents) {
    this.#clock = clock;
    this.#events = events;
  }

  /** Listens and gives the port (`port` 0: any free one). Throws the system's error when it cannot. */
  start(hostname: string, port: number): number {
    const listener = Bun.listen({
      hostname,
      port,
      exclusive: true,
      socket: {
        binaryType: "uint8array",
        open: (socket) => this.#open(socket),
        data: (socket, chunk) => this.#data(socket, chunk),
        close: (socket) => this.#close(socket),
        // A connection that breaks is also closed; there is nothing else to do about it.
        error: () => {},
      },
    });
    this.#state = { at: "listening", listener };
    return listener.port;
  }

  /**
   * Takes no more clients, reads what the current one has sent until it falls silent or `deadlineMs` (monotonic; looked
   * at every QUIET_MS), and closes everything. Calling it twice gives the same promise.
   */
  stop(deadlineMs: number): Promise<void> {
    this.#stopping ??= this.#stop(deadlineMs);
    return this.#stopping;
  }

  async #stop(deadlineMs: number): Promise<void> {
    if (this.#state.at !== "listening") return;
    const { listener } = this.#state;
    this.#state = { at: "draining", listener };
    for (const socket of this.#waiting) socket.end();
    this.#waiting = [];
    this.#lastDataMs = this.#clock.monotonicMs();
    // At least one round, for what the kernel has accepted and not yet told.
    do {
      await new Promise<void>((resolve) => {
        this.#clock.after(QUIET_MS, resolve);
      });
    } while (this.#isBusy(deadlineMs));
    listener.stop();
    this.#current?.end();
    this.#state = { at: "stopped" };
  }

  /** Whether the current client may still be sending, or what it sent is still worked on. */
  #isBusy(deadlineMs: number): boolean {
    const nowMs = this.#clock.monotonicMs();
    if (this.#current === undefined || nowMs >= deadlineMs) return false;
    return this.#work !== undefined || nowMs - this.#lastDataMs < QUIET_MS;
  }

  #open(socket: Socket): void {
    const isFull = this.#waiting.length >= WAITING_MAX;
    const isLate = this.#state.at === "draining" && this.#current !== undefined;
    if (isFull || isLate) {
      socket.end();
      return;
    }
    socket.setKeepAlive(true, KEEPALIVE_MS);
    if (this.#current === undefined) {
      this.#serve(socket);
    } else {
      socket.pause();
      this.#waiting.push(socket);
    }
  }

  #serve(socket: Socket): void {
    this.#current = socket;
    this.#events.onClient();
    socket.resume();
  }

  #data(socket: Socket, chunk: Uint8Array): void {
    if (socket !== this.#current) return;
    if (this.#work === undefined) {
      const work = this.#events.onData(chunk);
      // Nothing is read during the call, however long it takes: the silence begins after it.
      this.#lastDataMs = this.#clock.monotonicMs();
      if (work !== undefined) this.#await(socket, work);
      return;
    }
    // What had been read before the pause took effect.
    const copy = chunk.slice();
    this.#await(
      socket,
      this.#work.then(() => this.#events.onData(copy)),
    );
  }

  /** Reads no more of the client until `work` is done. */
  #await(socket: Socket, work: Promise<void>): void {
    socket.pause();
    this.#work = work;
    void work.then(() => {
      if (this.#work !== work) return;
      this.#work = undefined;
      // It could send nothing meanwhile: its silence begins now.
      this.#lastDataMs = this.#clock.monotonicMs();
      socket.resume();
    });
  }

  #close(socket: Socket): void {
    if (socket !== this.#current) {
      this.#waiting = this.#waiting.filter((waiting) => waiting !== socket);
    } else if (this.#work === undefined) {
      this.#next();
    } else {
      void this.#work.then(() => this.#next());
    }
  }

  /** The current client has gone: the turn of the one that waited longest. */
  #next(): void {
    this.#current = undefined;
    this.#events.onClientEnd();
    const next = this.#waiting.shift();
    if (next !== undefined) this.#serve(next);
  }
}
