/**
 * The frame port: accepts connections within its limits, over TLS when it has a certificate, and keeps one session per
 * stream. A certificate that is replaced by another is taken up within a minute; open connections stay. (T1, T6)
 */
import type { Clock, Log } from "@fleet/daemon";
import type { NodeId, StreamId } from "@fleet/protocol";
import { ListenError } from "../net/listen-error.ts";
import type { TlsFiles, TlsPair } from "../net/tls-files.ts";
import { TlsRenewal } from "../net/tls-renewal.ts";
import { Admission, type AdmissionLimits } from "./admission.ts";
import { Connection, type ConnectionDeps } from "./connection.ts";
import { Refusals } from "./refusals.ts";

/** Where to listen, with what certificate, and how many may come. */
export interface TcpServerOptions extends AdmissionLimits {
  readonly host: string;
  readonly port: number;
  /** Without it the port speaks in the clear. */
  readonly tls: TlsFiles | undefined;
}

type Listener = Bun.TCPSocketListener<Connection | undefined>;
type Socket = Bun.Socket<Connection | undefined>;
type ServerDeps = Omit<ConnectionDeps, "claim" | "authenticated" | "refusals">;

/** Probes of a peer that is silent begin then; Bun sends one a second and gives up after ten. */
const TCP_KEEPALIVE_MS = 10_000;

/** Listens, and feeds each connection its socket's events. */
export class TcpServer {
  readonly #options: TcpServerOptions;
  readonly #deps: ConnectionDeps;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #refusals: Refusals;
  readonly #connections: Admission<Connection>;
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
    this.#connections = new Admission(options);
    this.#deps = {
      ...deps,
      refusals: this.#refusals,
      claim: (stream, connection) => this.#claim(stream, connection),
      authenticated: (connection) => this.#connections.authenticated(connection),
    };
  }

  /** The port it listens on; differs from the configured one only when that was 0. */
  get port(): number {
    return this.#port;
  }

  /** Open connections. */
  get connections(): number {
    return this.#connections.size;
  }

  /** Throws ListenError. */
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

  /** Takes no more connections and says goodbye on the open ones. Frames that wait for a tracker stay with it. */
  async stop(): Promise<void> {
    this.#renewal?.stop();
    this.#listener?.stop(false);
    for (const connection of this.#connections.all()) connection.end("draining");
  }

  /** Ends every session of a node, because a newer instance has taken it over; false when there is none. (R9) */
  endSessions(nodeId: NodeId): boolean {
    const ended = [...this.#sessions.values()].filter((connection) => connection.nodeId === nodeId);
    for (const connection of ended) connection.end("superseded");
    return ended.length > 0;
  }

  /** Ends every connection that speaks for one of these nodes: they were removed. (R4) */
  endNodes(nodes: ReadonlySet<NodeId>): void {
    for (const connection of this.#connections.all()) {
      if (connection.nodeId !== undefined && nodes.has(connection.nodeId))
        connection.end("token_revoked");
    }
  }

  /** Hangs up on every plain node that came in with this push token: it has ended. (H5) */
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
        close: (socket) => this.#gone(socket.data),
        error: (socket, err) => {
          this.#log.error({ err }, "frame connection failed");
          socket.terminate();
          this.#gone(socket.data);
        },
      },
    });
  }

  #opened(socket: Socket): void {
    const address = socket.remoteAddress;
    // Not in Bun's types; where there is none, nobody is turned away for it.
    const descriptor = (socket as { fd?: number }).fd ?? 0;
    const refusal = this.#connections.refusal(address, descriptor);
    if (refusal !== undefined) {
      this.#refusals.add(address, refusal);
      socket.terminate();
      return;
    }
    socket.setNoDelay(true);
    socket.setKeepAlive(true, TCP_KEEPALIVE_MS);
    socket.data = new Connection(this.#deps, socket, address);
    this.#connections.add(socket.data, address)?.cutOff("crowded_out");
  }

  #gone(connection: Connection | undefined): void {
    if (connection === undefined) return;
    this.#connections.remove(connection);
    const { streamId } = connection;
    if (streamId !== undefined && this.#sessions.get(streamId) === connection)
      this.#sessions.delete(streamId);
    connection.closed();
  }
}
