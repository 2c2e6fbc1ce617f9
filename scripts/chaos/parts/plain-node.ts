/**
 * A plain node of the chaos test. It pushes numbered frames over one connection after another and records how each connection
 * ended. Nothing acknowledges its frames, so all it can know is whether a connection was closed in good order.
 */
import { connect, type Socket } from "node:net";

const LOOPBACK = "127.0.0.1";
const FIRST_MS = 1_783_500_000_000;
const CONNECTION_MS = 100_000_000;
const PERIOD_MS = 20;
const FRAMES_PER_PERIOD = 3;
/** One in this many frames is sent twice, so that the second is a duplicate. */
const TWICE_EVERY = 50;
const RETRY_MS = 150;

/** One connection, to which frames 1 … `sent` were written. */
export interface PlainConnection {
  /** Counts from 1. */
  readonly id: number;
  /** The coordinator's life at the connection's start; undefined if it had changed by the end. */
  life: number | undefined;
  sent: number;
  /** `clean` if everything was sent, we closed our end, and the coordinator closed its end after reading everything. */
  end: "open" | "clean" | "broken";
}

/** A plain node with one connection at a time. */
export class PlainNode {
  readonly name: string;
  readonly connections: PlainConnection[] = [];
  readonly #port: number;
  readonly #token: string;
  readonly #life: () => number;
  #socket: Socket | undefined;
  #period: ReturnType<typeof setInterval> | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;

  /** `life` returns the coordinator's current life. */
  constructor(name: string, port: number, token: string, life: () => number) {
    this.name = name;
    this.#port = port;
    this.#token = token;
    this.#life = life;
  }

  start(): void {
    this.#connect();
    this.#period = setInterval(() => this.#push(FRAMES_PER_PERIOD), PERIOD_MS);
  }

  /** Closes the connection in good order. Another one follows. */
  reconnect(): void {
    this.#socket?.end();
    this.#socket = undefined;
  }

  /** Stops sending. Resolves when the connection is closed. */
  async stop(): Promise<void> {
    clearInterval(this.#period);
    clearTimeout(this.#retry);
    const socket = this.#socket;
    this.#socket = undefined;
    if (socket === undefined || socket.destroyed) return;
    const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
    socket.end();
    await closed;
  }

  /** Opens one more connection, sends `frames` frames and closes it. Reports whether it ended `clean`. */
  async pushOnce(frames: number): Promise<boolean> {
    this.#connect();
    const connection = this.connections.at(-1)!;
    const socket = this.#socket!;
    await new Promise<void>((resolve) => {
      socket.once("close", () => resolve());
      socket.once("connect", () => {
        this.#push(frames);
        socket.end();
      });
    });
    return connection.end === "clean";
  }

  kill(): void {
    clearInterval(this.#period);
    clearTimeout(this.#retry);
    this.#socket?.destroy();
  }

  #connect(): void {
    const connection: PlainConnection = {
      id: this.connections.length + 1,
      life: this.#life(),
      sent: 0,
      end: "open",
    };
    this.connections.push(connection);
    const socket = connect({ host: LOOPBACK, port: this.#port, allowHalfOpen: true });
    this.#socket = socket;
    let hasEnded = false;
    socket.on("end", () => {
      hasEnded = socket.writableFinished;
      socket.end();
    });
    socket.on("data", () => {});
    socket.on("error", () => {});
    socket.on("close", (hadError) => {
      connection.end = hasEnded && !hadError ? "clean" : "broken";
      if (this.#life() !== connection.life) connection.life = undefined;
      if (this.#socket === socket) this.#socket = undefined;
    });
  }

  #push(frames: number): void {
    const socket = this.#socket;
    if (socket === undefined) {
      this.#connectLater();
      return;
    }
    if (socket.connecting || socket.destroyed || socket.writableNeedDrain) return;
    const connection = this.connections.at(-1)!;
    for (let i = 0; i < frames; i++) {
      const line = this.#line(connection.id, ++connection.sent);
      socket.write(connection.sent % TWICE_EVERY === 0 ? line + line : line);
    }
  }

  #connectLater(): void {
    if (this.#retry !== undefined) return;
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      this.#connect();
    }, RETRY_MS);
  }

  #line(id: number, n: number): string {
    const frame = {
      node_id: this.name,
      token: this.#token,
      timestamp: FIRST_MS + id * CONNECTION_MS + n,
      delay: [id],
      doppler: [n],
      snr: [1],
    };
    return `${JSON.stringify(frame)}\n`;
  }
}
