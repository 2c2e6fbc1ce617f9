/** The frame port: accepts connections within a limit and keeps one session per stream. (T1, T6) */
import type { Log } from "@fleet/daemon";
import type { NodeId, StreamId } from "@fleet/protocol";
import { ListenError } from "../listen-error.ts";
import { Connection, type ConnectionDeps } from "./connection.ts";

/** Where to listen and how many may come. */
export interface TcpServerOptions {
  readonly host: string;
  readonly port: number;
  readonly connectionsMax: number;
}

/** Listens, and feeds each connection its socket's events. */
export class TcpServer {
  readonly #options: TcpServerOptions;
  readonly #deps: Omit<ConnectionDeps, "claim">;
  readonly #log: Log;
  readonly #connections = new Set<Connection>();
  readonly #sessions = new Map<StreamId, Connection>();
  #listener: Bun.TCPSocketListener<Connection | undefined> | undefined;

  constructor(options: TcpServerOptions, deps: Omit<ConnectionDeps, "claim">) {
    this.#options = options;
    this.#deps = deps;
    this.#log = deps.log;
  }

  /** The port it listens on; differs from the configured one only when that was 0. */
  get port(): number {
    return this.#listener?.port ?? this.#options.port;
  }

  /** Open connections. */
  get connections(): number {
    return this.#connections.size;
  }

  start(): void {
    const { host, port } = this.#options;
    try {
      this.#listener = this.#listen(host, port);
    } catch (cause) {
      throw new ListenError("frames", host, port, cause);
    }
    this.#log.info({ host, port: this.port }, "frames: listening");
  }

  /** Takes no more connections and says goodbye on the open ones. Frames that wait for a tracker stay with it. */
  async stop(): Promise<void> {
    this.#listener?.stop(false);
    for (const connection of this.#connections) connection.end("draining");
  }

  /** Ends every session of a node, because a newer instance has taken it over. (R9) */
  endSessions(nodeId: NodeId): void {
    for (const connection of this.#sessions.values()) {
      if (connection.nodeId === nodeId) connection.end("superseded");
    }
  }

  #claim(stream: StreamId, connection: Connection): void {
    this.#sessions.get(stream)?.end("replaced");
    this.#sessions.set(stream, connection);
  }

  #listen(hostname: string, port: number): Bun.TCPSocketListener<Connection | undefined> {
    const deps: ConnectionDeps = { ...this.#deps, claim: (s, c) => this.#claim(s, c) };
    return Bun.listen<Connection | undefined>({
      hostname,
      port,
      socket: {
        open: (socket) => {
          if (this.#connections.size >= this.#options.connectionsMax) {
            deps.counts.add("too_many_connections");
            socket.terminate();
            return;
          }
          socket.setNoDelay(true);
          socket.setKeepAlive(true, 10_000);
          socket.data = new Connection(deps, socket);
          this.#connections.add(socket.data);
        },
        data: (socket, chunk) => socket.data?.data(chunk),
        drain: (socket) => socket.data?.drain(),
        close: (socket) => this.#gone(socket.data),
        error: (socket, err) => {
          this.#log.error({ err }, "frame connection failed");
          socket.terminate();
          this.#gone(socket.data);
        },
      },
    });
  }

  #gone(connection: Connection | undefined): void {
    if (connection === undefined) return;
    this.#connections.delete(connection);
    const { streamId } = connection;
    if (streamId !== undefined && this.#sessions.get(streamId) === connection)
      this.#sessions.delete(streamId);
    connection.closed();
  }
}
