/**
 * The frame port: accepts connections within its limits, over TLS when it has a certificate, and keeps one session per
 * stream. A certificate that is replaced by another is taken up within a minute; open connections stay. (T1, T6)
 */
import { type Clock, every, type Log, type Timer } from "@fleet/daemon";
import type { NodeId, StreamId } from "@fleet/protocol";
import { ListenError } from "../listen-error.ts";
import { readTlsPair, type TlsFiles, type TlsPair } from "../tls-files.ts";
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

const RENEW_MS = 60_000;
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
  #pair: TlsPair | undefined;
  /** What was last said of a certificate that can't be used. */
  #complaint: string | undefined;
  #renewal: Timer | undefined;

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
      this.#pair = tls === undefined ? undefined : pairOf(tls);
      this.#listener = this.#listen();
    } catch (cause) {
      throw new ListenError("frames", host, this.#port, cause);
    }
    this.#port = this.#listener.port;
    this.#log.info({ host, port: this.#port, tls: tls !== undefined }, "frames: listening");
    if (tls !== undefined) this.#renewal = every(this.#clock, RENEW_MS, () => this.#renew(tls));
  }

  /** Takes no more connections and says goodbye on the open ones. Frames that wait for a tracker stay with it. */
  async stop(): Promise<void> {
    this.#renewal?.cancel();
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

  /** A socket keeps what it was accepted with, so a new certificate takes a new listener. */
  #renew(files: TlsFiles): void {
    const read = readTlsPair(files);
    if (read.at === "bad") {
      this.#complain(`tcp_server.tls.${read.problem}`);
      return;
    }
    const { cert, key, expiresMs } = read.pair;
    if (this.#listener !== undefined && cert === this.#pair?.cert && key === this.#pair.key) {
      this.#complaint = undefined;
      return;
    }
    this.#listener?.stop(false);
    this.#listener = undefined;
    this.#pair = read.pair;
    try {
      this.#listener = this.#listen();
    } catch (error) {
      this.#complain(`can't listen on port ${this.#port}: ${String(error)}`);
      return;
    }
    this.#complaint = undefined;
    this.#log.info({ expires: new Date(expiresMs).toISOString() }, "frames: new certificate");
  }

  #complain(problem: string): void {
    if (problem !== this.#complaint)
      this.#log.error({ problem }, "frames: the new certificate can't be used");
    this.#complaint = problem;
  }

  #listen(): Listener {
    return Bun.listen<Connection | undefined>({
      hostname: this.#options.host,
      port: this.#port,
      ...(this.#pair === undefined ? {} : { tls: { cert: this.#pair.cert, key: this.#pair.key } }),
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

/** Checked with the config, so it is bad only when it was replaced since. */
function pairOf(files: TlsFiles): TlsPair {
  const read = readTlsPair(files);
  if (read.at === "bad") throw new Error(`tcp_server.tls.${read.problem}`);
  return read.pair;
}
