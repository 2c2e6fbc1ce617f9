/**
 * A plain node of the chaos test: pushes numbered frames over one connection after the other and keeps a record of what became
 * of each connection. It is never answered, so it never knows what arrived; only that a connection ended in good order.
 */
import { connect, type Socket } from "node:net";

const LOOPBACK = "127.0.0.1";
const FIRST_MS = 1_783_500_000_000;
const CONNECTION_MS = 100_000_000;
const PERIOD_MS = 20;
const FRAMES_PER_PERIOD = 3;
/** Every so many frames one is sent twice: the second is a duplicate. */
const TWICE_EVERY = 50;
const RETRY_MS = 150;

/** One connection. Frames 1 … `sent` were written to it. */
export interface PlainConnection {
  /** Counts from 1. */
  readonly id: number;
  /** The coordinator's life at its beginning; undefined when it had another by its end. */
  life: number | undefined;
  sent: number;
  /** `clean`: all was sent, we ended it, and so did the coordinator after it had read all. */
  end: "open" | "clean" | "broken";
}

/** See the head of this file. */
export class PlainNode {
  readonly name: string;
  readonly connections: PlainConnection[] = [];
  readonly #port: number;
  readonly #token: string;
  readonly #life: () => number;
  #socket: Socket | undefined;
  #period: ReturnType<typeof setInterval> | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;

  /** `life` is asked for the coordinator's current one. */
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

  /** Ends the connection in good order; another one follows. */
  reconnect(): void {
    this.#socket?.end();
    this.#socket = undefined;
  }

  /** Sends nothing more of its own accord. Settles when the connection is closed. */
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

  /** One connection more, with so many frames, ended in good order. Says whether it was. */
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
