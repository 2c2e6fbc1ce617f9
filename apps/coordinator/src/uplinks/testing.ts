/** A frame port for tests, with everything behind it: real sockets and database, a fake clock, trackers played by the test. */
import { type Counts, seededRandom } from "@fleet/daemon";
import { FakeClock } from "@fleet/daemon/testing";
import { encodeLine, type Hello, PROTOCOL_VERSION, type ServerLine } from "@fleet/protocol";
import { FakeSpawn } from "@fleet/supervisor/testing";
import { Resolver } from "../net/resolver.ts";
import { Auth } from "../auth/auth.ts";
import { Bus } from "../bus.ts";
import { type Config, parseConfig } from "../config/config.ts";
import { Committer } from "../db/commit.ts";
import { type Db, MEMORY, openDb } from "../db/open.ts";
import { createRegistry, type Registry } from "../registry/registry.ts";
import type { TlsFiles } from "../net/tls-files.ts";
import {
  freePorts,
  configuredTokens,
  nodeId,
  RecordingLog,
  REGISTRY_OPTIONS,
  registration,
  until,
} from "../testing.ts";
import { createTrackers } from "../trackers/create-trackers.ts";
import type { TrackerManager } from "../trackers/manager.ts";
import { createUplinks, type Uplinks } from "./create-uplinks.ts";
import type { TcpServer } from "./tcp-server.ts";

export const PUSH = "push-token";
/** A frame line without its LF. */
export function frame(n: number, more: Record<string, unknown> = {}): string {
  return JSON.stringify({ timestamp: 1000 + n, delay: [n], doppler: [-1.5], snr: [9], ...more });
}

/** Lines with their LFs. */
export const lines = (...texts: readonly string[]): string => texts.map((t) => `${t}\n`).join("");

/** The tracker of one stream, played by the test: what it has received, and whether it reads. */
export class PlayedTracker {
  received = "";
  bytes = 0;
  connections = 0;
  /** Whether to count bytes only, for floods. */
  countOnly = false;
  readonly #listener: Bun.TCPSocketListener;
  #socket: Bun.Socket<unknown> | undefined;
  #reads = true;

  constructor(port: number, reads: boolean) {
    this.#reads = reads;
    this.#listener = Bun.listen({
      hostname: "127.0.0.1",
      port,
      socket: {
        open: (socket) => {
          this.#socket = socket;
          this.connections++;
          if (!this.#reads) socket.pause();
        },
        data: (_, chunk) => {
          this.bytes += chunk.length;
          if (!this.countOnly) this.received += chunk.toString("latin1");
        },
      },
    });
  }

  get lines(): string[] {
    return this.received.split("\n").slice(0, -1);
  }

  reads(yes: boolean): void {
    this.#reads = yes;
    if (yes) this.#socket?.resume();
    else this.#socket?.pause();
  }

  close(): void {
    this.#socket?.terminate();
    this.#listener.stop(true);
  }
}

export interface FramePortOptions {
  readonly ports?: number;
  readonly connectionsMax?: number;
  readonly perAddressMax?: number;
  readonly descriptorMax?: number;
  readonly tls?: TlsFiles;
  readonly autoProvision?: boolean;
  readonly perTokenMax?: number;
  readonly plainNodesMax?: number;
  /** Nodes that the config names. */
  readonly configured?: readonly string[];
  /** Nodes that the config names with a `detection_url`, each with its URL. */
  readonly fetched?: Readonly<Record<string, string>>;
  /** Whether trackers listen, and whether they read. */
  readonly trackers?: "up" | "down" | "deaf";
  /** The database of another port, as after a restart. */
  readonly db?: Db;
}

/** A frame port that listens. `await using port = new FramePort()` stops it. */
export class FramePort implements AsyncDisposable {
  readonly clock = new FakeClock();
  readonly log = new RecordingLog();
  readonly db: Db;
  readonly auth: Auth;
  readonly spawn = new FakeSpawn();
  readonly commits: Committer;
  readonly registry: Registry;
  readonly manager: TrackerManager;
  readonly uplinks: Uplinks;
  trackers: "up" | "down" | "deaf";
  readonly #played = new Map<string, PlayedTracker>();
  readonly #peers: Peer[] = [];

  constructor(options: FramePortOptions = {}) {
    const { clock, log } = this;
    this.trackers = options.trackers ?? "up";
    this.db = options.db ?? openDb(MEMORY).db;
    const bus = new Bus();
    this.commits = new Committer(this.db, log, bus);
    const { db, commits } = this;
    const tokens = configuredTokens({ push: PUSH });
    this.auth = new Auth({ db, commits, dataDir: MEMORY, tokens, clock, log });
    this.auth.start();
    this.registry = createRegistry(
      { db, commits, clock, log },
      { ...REGISTRY_OPTIONS, plainNodesMax: options.plainNodesMax ?? 1000 },
    );
    this.registry.start();
    const { auth, registry } = this;
    const shared = { config: configOf(options), clock, log, db, random: seededRandom(1) };
    this.manager = createTrackers({
      ...shared,
      bus,
      trackDir: "/nowhere",
      trackerCommand: ["{port}", "{stream}"],
      trackerEnv: {},
      spawn: this.spawn.spawn,
    }).manager;
    this.uplinks = createUplinks({
      ...shared,
      auth,
      registry,
      manager: this.manager,
      resolver: new Resolver(clock),
      descriptorMax: options.descriptorMax ?? Number.POSITIVE_INFINITY,
    });
    this.uplinks.progress.start();
    this.registry.superseded.add((node) => this.server.endSessions(node));
    this.server.start();
    this.#obey();
  }

  get server(): TcpServer {
    return this.uplinks.server;
  }

  /** Lines and connections refused, by reason. */
  get counts(): Counts {
    return this.uplinks.refused;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.stop();
    for (const played of this.#played.values()) played.reads(true);
    const stopped = this.manager.stop(this.clock.monotonicMs() + 60_000);
    let done = false;
    void stopped.finally(() => (done = true));
    await until(
      () => done,
      () => this.clock.advance(1000),
    );
    await this.uplinks.progress.stop();
    await this.registry.stop();
    await this.auth.stop();
    for (const peer of this.#peers) peer.close();
    for (const played of this.#played.values()) played.close();
  }

  /** Waits for the tracker of a stream and returns it. */
  async tracker(stream: string): Promise<PlayedTracker> {
    await until(() => this.#played.has(stream));
    return this.#played.get(stream)!;
  }

  /** Crashes the tracker of a stream. */
  crash(stream: string): void {
    this.#played.get(stream)?.close();
    this.#played.delete(stream);
    this.spawn.processes.find((p) => p.request.command[1] === stream)?.exit(1);
  }

  /** Connects; with `ca`, over TLS. */
  async connect(ca?: string): Promise<Peer> {
    const peer = new Peer();
    this.#peers.push(peer);
    await peer.open(this.server.port, ca);
    return peer;
  }

  /** Registers an agent and returns the hello of its sensor. */
  async hello(id = "radar3", more: Partial<Record<keyof Hello, unknown>> = {}): Promise<Hello> {
    const instance = (more.instance_id as string | undefined) ?? "i1";
    const outcome = await this.registry.register(
      registration({ node_id: id, instance_id: instance }),
    );
    const epoch = outcome.at === "registered" ? outcome.epoch : 1;
    const claims = { nodeId: nodeId(id), instanceId: instance as never, epoch };
    const { accessToken } = await this.auth.credentials.issue(claims);
    return {
      type: "hello",
      protocol: PROTOCOL_VERSION,
      node_id: id,
      sensor: "radar",
      token: accessToken,
      instance_id: instance,
      epoch,
      spool_id: "spool1",
      first_seq: 1,
      ...more,
    } as Hello;
  }

  /** A session after its welcome. */
  async session(hello?: Hello, ca?: string): Promise<Peer> {
    const peer = await this.connect(ca);
    peer.send(encodeLine(hello ?? (await this.hello())));
    await peer.next("welcome");
    return peer;
  }

  /** Waits while it advances the clock, so that acks are sent and links open. */
  async until(isSo: () => boolean): Promise<void> {
    await until(isSo, () => this.clock.advance(10));
  }

  #obey(): void {
    this.spawn.onSpawn = (process) => {
      const [port, stream] = process.request.command as [string, string];
      if (this.trackers !== "down")
        this.#played.set(stream, new PlayedTracker(Number(port), this.trackers === "up"));
      process.onSignal = () => {
        this.#played.get(stream)?.close();
        process.exit(0);
      };
    };
  }
}

function configOf(options: FramePortOptions): Config {
  const ports = options.ports ?? 8;
  const firstPort = freePorts(ports);
  return parseConfig("test", {
    tracker: { stop_grace: "1s", stall_timeout: "1000000s" },
    tcp_server: {
      host: "127.0.0.1",
      port: 0,
      connections_max: options.connectionsMax ?? 100,
      connections_per_address_max: options.perAddressMax ?? 100,
      auto_provision: options.autoProvision,
      auto_provision_port_start: firstPort,
      auto_provision_port_end: firstPort + ports - 1,
      auto_provision_per_token_max: options.perTokenMax,
      tls: options.tls && { cert: options.tls.cert, key: options.tls.key },
    },
    trackers: [
      ...(options.configured ?? []).map((name) => ({ name, mode: "tcp" })),
      ...Object.entries(options.fetched ?? {}).map(([name, url]) => ({
        name,
        mode: "http",
        detection_url: url,
      })),
    ],
  });
}

/** The other end of a connection to the frame port. */
export class Peer {
  closed = false;
  /** Lines received and not taken by `next` yet. */
  readonly lines: ServerLine[] = [];
  /** Bytes that the socket has not accepted yet. */
  #rest: Uint8Array = new Uint8Array(0);
  #text = "";
  #socket: Bun.Socket | undefined;

  async open(port: number, ca?: string): Promise<void> {
    this.#socket = await Bun.connect({
      hostname: "127.0.0.1",
      port,
      ...(ca === undefined ? {} : { tls: { ca } }),
      socket: {
        data: (_, chunk) => this.#data(chunk.toString("utf8")),
        drain: () => this.#flush(),
        close: () => {
          this.closed = true;
        },
      },
    });
  }

  /** The number of bytes that the socket has not accepted yet. */
  get waiting(): number {
    return this.#rest.length;
  }

  send(data: string | Uint8Array): void {
    const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
    this.#rest = Buffer.concat([this.#rest, bytes]);
    this.#flush();
  }

  /** Waits for a line of this type, and takes all lines up to it. */
  async next<T extends ServerLine["type"]>(type: T): Promise<Extract<ServerLine, { type: T }>> {
    await until(() => this.lines.some((l) => l.type === type));
    const at = this.lines.findIndex((l) => l.type === type);
    return this.lines.splice(0, at + 1).at(-1) as Extract<ServerLine, { type: T }>;
  }

  /** Stops reading. */
  pause(): void {
    this.#socket?.pause();
  }

  close(): void {
    this.#socket?.terminate();
  }

  #flush(): void {
    if (this.#rest.length === 0 || this.#socket === undefined) return;
    const written = Math.max(0, this.#socket.write(this.#rest));
    this.#rest = this.#rest.subarray(written);
  }

  #data(text: string): void {
    const parts = (this.#text + text).split("\n");
    this.#text = parts.pop()!;
    for (const part of parts) this.lines.push(JSON.parse(part) as ServerLine);
  }
}
