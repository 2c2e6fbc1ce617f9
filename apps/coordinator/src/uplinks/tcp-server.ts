/**
 * The frame port: accepts connections within its limits, over TLS when it has a certificate, and keeps one session per
 * stream. A replaced certificate is picked up within a minute; open connections keep the old one. (T1, T6)
 */
import type { Clock, Log } from "@fleet/daemon";
import type { NodeId, StreamId } from "@fleet/protocol";
import { ListenError } from "../net/listen-error.ts";
import type { TlsFiles, TlsPair } from "../net/tls-files.ts";
import { TlsRenewal } from "../net/tls-renewal.ts";
import { Connection, type ConnectionDeps } from "./connection.ts";
import { ConnectionLimiter, type ConnectionLimits } from "./connection-limiter.ts";
import { Refusals } from "./refusals.ts";

/** Where to listen, with which certificate, and within which limits. */
export interface TcpServerOptions extends ConnectionLimits {
  readonly host: string;
  readonly port: number;
  /** Without it the port speaks plain TCP. */
  readonly tls: TlsFiles | undefined;
}

type Listener = Bun.TCPSocketListener<Connection | undefined>;
type Socket = Bun.Socket<Connection | undefined>;
type ServerDeps = Omit<ConnectionDeps, "claim" | "onAuthenticated" | "refusals">;

/** After this much silence TCP probes the peer; Bun sends one probe a second and closes after ten. */
const TCP_KEEPALIVE_MS = 10_000;

/** Listens, and passes each connection the events of its socket. */
export class TcpServer {
  readonly #options: TcpServerOptions;
  readonly #deps: ConnectionDeps;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #refusals: Refusals;
  readonly #connections: ConnectionLimiter<Connection>;
  readonly #sessions = new Map<StreamId, Connection>();
  #listener: Listener | undefined;
  #port: number;
  #renewal: TlsRenewal | undefined;

  constructor(options: TcpServerOptions, deps: ServerDeps) {
    this.#options = options;
    this.#clock = deps.clock;
    this.#log = deps.log;
    this.#port = options.port;
    this.#refusals = new Refusals(deps.counts, deps.clock, deps.log);
    this.#connections = new ConnectionLimiter(options);
    this.#deps = {
      ...deps,
      refusals: this.#refusals,
      claim: (stream, connection) => this.#claim(stream, connection),
      onAuthenticated: (connection) => this.#connections.markAuthenticated(connection),
    };
  }

  /** The port it listens on; for a configured port of 0, the one the system chose. */
  get port(): number {
    return this.#port;
  }

  /** The number of open connections. */
  get connections(): number {
    return this.#connections.size;
  }

  /** Starts to listen. Throws ListenError. */
  start(): void {
    const { host, tls } = this.#options;
    try {
      if (tls === undefined) this.#listener = this.#listen();
      else this.#startTls(tls);
    } catch (cause) {
      throw new ListenError("frames", host, this.#port, cause);
    }
    this.#port = this.#listener?.port ?? this.#port;
    this.#log.info({ host, port: this.#port, tls: tls !== undefined }, "frames: listening");
  }

  /** Accepts no more connections and ends the open ones with `bye`. Frames that wait for a tracker stay in its queue. */
  async stop(): Promise<void> {
    this.#renewal?.stop();
    this.#listener?.stop(false);
    for (const connection of this.#connections.all()) connection.end("draining");
  }

  /** Ends every session of a node that a newer instance has taken over. Returns whether there was one. (R9) */
  endSessions(nodeId: NodeId): boolean {
    const ended = [...this.#sessions.values()].filter((connection) => connection.nodeId === nodeId);
    for (const connection of ended) connection.end("superseded");
    return ended.length > 0;
  }

  /** Ends every connection that speaks for one of these removed nodes. (R4) */
  endNodes(nodes: ReadonlySet<NodeId>): void {
    for (const connection of this.#connections.all()) {
      if (connection.nodeId !== undefined && nodes.has(connection.nodeId))
        connection.end("token_revoked");
    }
  }

  /** Closes the connection of every plain node that authenticated with this push token, which has ended. (H5) */
  endToken(tokenId: string): void {
    for (const connection of this.#connections.all()) {
      if (connection.tokenId === tokenId) connection.cutOff("token_ended");
    }
  }

  #claim(stream: StreamId, connection: Connection): void {
    this.#sessions.get(stream)?.end("replaced");
    this.#sessions.set(stream, connection);
  }

  #startTls(files: TlsFiles): void {
    this.#renewal = new TlsRenewal({
      files,
      clock: this.#clock,
      log: this.#log,
      name: "frames",
      place: "tcp_server.tls",
      listen: (pair) => {
        this.#listener?.stop(false);
        this.#listener = undefined;
        this.#listener = this.#listen(pair);
      },
    });
    this.#renewal.start();
  }

  #listen(pair?: TlsPair): Listener {
    return Bun.listen<Connection | undefined>({
      hostname: this.#options.host,
      port: this.#port,
      ...(pair === undefined ? {} : { tls: { cert: pair.cert, key: pair.key } }),
      socket: {
        open: (socket) => this.#opened(socket),
        handshake: (socket, isSecure) => {
          if (!isSecure) socket.data?.cutOff("tls_handshake");
        },
        data: (socket, chunk) => socket.data?.data(chunk),
        drain: (socket) => socket.data?.drain(),
        close: (socket) => this.#closed(socket.data),
        error: (socket, err) => {
          this.#log.error({ err }, "frame connection failed");
          socket.terminate();
          this.#closed(socket.data);
        },
      },
    });
  }

  #opened(socket: Socket): void {
    // Not a string, whatever Bun's types say, for a connection that was reset before it was accepted.
    const address = socket.remoteAddress as string | undefined;
    if (address === undefined) {
      socket.terminate();
      return;
    }
    // Not in Bun's types. Without a descriptor, that limit does not apply.
    const descriptor = (socket as { fd?: number }).fd ?? 0;
    const refusal = this.#connections.refusalOf(address, descriptor);
    if (refusal !== undefined) {
      this.#refusals.add(address, refusal);
      socket.terminate();
      return;
    }
    socket.setNoDelay(true);
    socket.setKeepAlive(true, TCP_KEEPALIVE_MS);
    socket.data = new Connection(this.#deps, socket, address);
    this.#connections.reserve(socket.data, address)?.cutOff("crowded_out");
  }

  #closed(connection: Connection | undefined): void {
    if (connection === undefined) return;
    this.#connections.release(connection);
    const { streamId } = connection;
    if (streamId !== undefined && this.#sessions.get(streamId) === connection)
      this.#sessions.delete(streamId);
    connection.closed();
  }
}
