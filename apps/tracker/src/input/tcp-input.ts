/**
 * The TCP port for frames. It serves one client at a time; others are accepted but not read until it is their turn, so their
 * data stays in the kernel and TCP slows them down. The current client is not read while its data is being processed.
 * Constructed by `main.ts`.
 *
 *   idle → listening → draining (accepts no clients, but reads data that has arrived) → stopped
 */
import type { Clock } from "@fleet/daemon";
import type { Socket, TCPSocketListener } from "bun";

/** Clients that can wait. A further one is closed immediately. */
export const WAITING_MAX = 16;
/** Silence after which TCP keepalive probes start, which detect a vanished peer. */
const KEEPALIVE_MS = 30_000;
/** While draining, a client that is silent for this long is assumed to have sent everything. */
const SILENCE_MS = 20;

type State =
  | { readonly at: "idle" | "stopped" }
  | { readonly at: "listening" | "draining"; readonly listener: TCPSocketListener };

/** Callbacks for the clients. */
export interface TcpInputEvents {
  /** A client is now being served. */
  onClient(): void;
  /** Data of the current client, valid only during the call. Nothing more is read until the returned promise, if any, resolves. */
  onData(chunk: Uint8Array): Promise<void> | undefined;
  /** The current client has disconnected. */
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

  /** Starts listening and returns the port (`port` 0: any free one). Throws the system's error on failure. */
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
        // A broken connection is also reported to `close`.
        error: () => {},
      },
    });
    this.#state = { at: "listening", listener };
    return listener.port;
  }

  /**
   * Accepts no more clients, reads the data of the current one until it is silent or until `deadlineMs` (monotonic, checked
   * every SILENCE_MS), and closes everything. A second call returns the same promise.
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
    // At least one round, for connections that the kernel has accepted but not reported yet.
    do {
      await new Promise<void>((resolve) => {
        this.#clock.after(SILENCE_MS, resolve);
      });
    } while (this.#isBusy(deadlineMs));
    listener.stop();
    this.#current?.end();
    this.#state = { at: "stopped" };
  }

  /** Whether the current client may still be sending, or its data is still being processed. */
  #isBusy(deadlineMs: number): boolean {
    const nowMs = this.#clock.monotonicMs();
    if (this.#current === undefined || nowMs >= deadlineMs) return false;
    return this.#work !== undefined || nowMs - this.#lastDataMs < SILENCE_MS;
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
      // Nothing is read during the call, so the client's silence is counted from its end.
      this.#lastDataMs = this.#clock.monotonicMs();
      if (work !== undefined) this.#pauseDuring(socket, work);
      return;
    }
    // This chunk had been read before the pause took effect.
    const copy = chunk.slice();
    this.#pauseDuring(
      socket,
      this.#work.then(() => this.#events.onData(copy)),
    );
  }

  /** Pauses reading from the client until `work` is done. */
  #pauseDuring(socket: Socket, work: Promise<void>): void {
    socket.pause();
    this.#work = work;
    void work.then(() => {
      if (this.#work !== work) return;
      this.#work = undefined;
      // The client could not send anything during the pause, so its silence is counted from now.
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

  /** Ends the current client and serves the one that has waited longest. */
  #next(): void {
    this.#current = undefined;
    this.#events.onClientEnd();
    const next = this.#waiting.shift();
    if (next !== undefined) this.#serve(next);
  }
}
