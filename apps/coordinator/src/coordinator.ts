/** Builds the coordinator and starts and stops its parts in order. Constructs and orders; does nothing else. (T6) */
import { join } from "node:path";
import { type Clock, Counts, type Log, type Random, ServiceGroup } from "@fleet/daemon";
import { Auth, type TokenSettings } from "./auth/auth.ts";
import { Bus } from "./bus.ts";
import type { Config } from "./config/config.ts";
import { frameDescriptorMax } from "./net/descriptors.ts";
import { type Db, MEMORY, openDb, type OpenedDb } from "./db/open.ts";
import { ActiveDownloads } from "./downloads/active-downloads.ts";
import { AgentBinaries } from "./downloads/agent-binaries.ts";
import { RegisterLimiter } from "./http/agents/register-limiter.ts";
import { AgentStreams } from "./agent-streams/agent-streams.ts";
import { createApp } from "./http/app.ts";
import { HttpServer } from "./http/server.ts";
import { Metrics } from "./metrics/metrics.ts";
import { StartupProbe } from "./registry/liveness/startup-probe.ts";
import { Registry } from "./registry/registry.ts";
import { HealthPoller } from "./registry/liveness/health-poller.ts";
import type { Feed } from "./trackers/feed/feed.ts";
import { RedeliveryTotal } from "./trackers/feed/redelivery-buffer.ts";
import { Fetchers } from "./uplinks/fetch/fetchers.ts";
import { TrackerManager } from "./trackers/manager.ts";
import { TrackLog } from "./trackers/tracks/track-log.ts";
import { PortPool } from "./trackers/port-pool.ts";
import { TrackerStore } from "./trackers/tracker-store.ts";
import { SocketBacklog } from "./trackers/feed/socket-backlog.ts";
import { ProgressStore } from "./uplinks/sessions/stream-progress.ts";
import { TcpServer, type TcpServerOptions } from "./uplinks/tcp-server.ts";

const FAILED_START_MS = 5000;
const ANY_HOST = "0.0.0.0";
const DAY_MS = 86_400_000;
/** Agents downloaded at once: each takes an open file and a share of the network, next to no memory. */
const DOWNLOADS_MAX = 32;

/** What `main.ts` has read from flags, environment and files. */
export interface CoordinatorOptions {
  readonly config: Config;
  readonly dataDir: string;
  readonly outputDir: string;
  readonly tokens: TokenSettings;
  /** argv of a tracker, with `{port}` and `{stream}` to be filled in. */
  readonly trackerCommand: readonly string[];
  /** The environment trackers get: ours less our secrets. */
  readonly trackerEnv: Readonly<Record<string, string>>;
  readonly version: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** A coordinator that can be started once. */
export interface Coordinator {
  start(): Promise<void>;
  /** By `deadlineMs`, monotonic. Calling it twice gives the same promise. */
  stop(deadlineMs: number): Promise<void>;
  readonly httpPort: number;
  readonly framesPort: number;
}

/** Opens the data directory (throws DataDirError, DatabaseDamagedError, DatabaseTooNewError, KeyFileError, ConfigError) and wires the parts. */
export function createCoordinator(options: CoordinatorOptions): Coordinator {
  const opened = openDb(options.dataDir);
  try {
    return wire(options, opened);
  } catch (error) {
    opened.close();
    throw error;
  }
}

function wire(options: CoordinatorOptions, opened: OpenedDb): Coordinator {
  const { config, clock, log } = options;
  const { db } = opened;
  const bus = new Bus();
  const counts = new Counts();
  const auth = new Auth(db, options.dataDir, clock, log, options.tokens);
  auth.requireTokens();
  const registry = createRegistry(options, db, bus);
  const output = createOutput(options);
  const manager = createManager(options, db, bus, output);
  const fetchers = createFetchers(options, registry, manager);
  const store = new ProgressStore(db, clock, log);
  const shared = { clock, log, auth, registry, manager, store, counts };
  const frames = new TcpServer(tcpServerOptions(config), shared);
  auth.tokens.onEnd((token) => frames.endToken(token.id));
  const streams = new AgentStreams(clock);
  registry.onSuperseded = (node) => {
    const [hadSession, hadStream] = [frames.endSessions(node), streams.end(node, "superseded")];
    return hadSession || hadStream;
  };
  registry.onRemoved = (nodes) => {
    frames.endNodes(nodes);
    for (const node of nodes) streams.end(node, "token_revoked");
    store.forget(nodes);
  };
  const parts: Parts = {
    auth,
    registry,
    output,
    manager,
    fetchers,
    store,
    frames,
    streams,
    bus,
    counts,
  };
  const downloads = new ActiveDownloads(clock, DOWNLOADS_MAX);
  const { host = ANY_HOST, port, tls } = config.http;
  const app = createHttpApp(options, parts, downloads);
  const http = new HttpServer({ host, port, tls }, app, clock, log);
  const intervalMs = config.registry.heartbeat_interval;
  const group = new ServiceGroup(clock, [
    { name: "auth", service: auth },
    { name: "registry", service: registry },
    { name: "stream progress", service: store },
    { name: "track output", service: output },
    { name: "trackers", service: manager },
    { name: "fetchers", service: fetchers },
    { name: "frames", service: frames },
    { name: "downloads", service: downloads },
    { name: "agents' streams", service: streams },
    { name: "http", service: http },
    { name: "probe", service: new StartupProbe({ registry, clock, log }) },
    { name: "rounds", service: new HealthPoller({ registry, clock, intervalMs }) },
  ]);
  return {
    ...lifecycle(group, opened, log),
    get httpPort() {
      return http.port;
    },
    get framesPort() {
      return frames.port;
    },
  };
}

/** What the HTTP face shows and works with. */
interface Parts {
  readonly auth: Auth;
  readonly registry: Registry;
  readonly output: TrackLog;
  readonly manager: TrackerManager;
  readonly fetchers: ReturnType<typeof createFetchers>;
  readonly store: ProgressStore;
  readonly frames: TcpServer;
  readonly streams: AgentStreams;
  readonly bus: Bus;
  readonly counts: Counts;
}

function createHttpApp(
  { config, clock, random, log, version }: CoordinatorOptions,
  { auth, registry, output, manager, fetchers, store, frames, streams, bus, counts }: Parts,
  downloads: ActiveDownloads,
): ReturnType<typeof createApp> {
  const answers = new Counts();
  const isWritable = (): boolean => !store.failing && !registry.failing;
  const registerLimiter = new RegisterLimiter(clock, random);
  return createApp({
    registry,
    auth,
    clock,
    log,
    manager,
    bus,
    streams,
    registerLimiter,
    metrics: new Metrics({
      auth,
      registry,
      manager,
      fetches: () => fetchers.outcomes(),
      output,
      lines: counts,
      connections: () => frames.connections,
      streams: () => streams.size,
      deferred: () => registerLimiter.refused,
      isWritable,
      downloads: answers,
    }),
    binaries: new AgentBinaries(config.agent_binaries),
    downloads,
    answers,
    version,
    heartbeatIntervalMs: config.registry.heartbeat_interval,
    reenroll: config.registry.reenroll === "allow",
    frames: () => advertised(config, frames.port),
    isWritable,
  });
}

function lifecycle(
  group: ServiceGroup,
  opened: OpenedDb,
  log: Log,
): Pick<Coordinator, "start" | "stop"> {
  let stopping: Promise<void> | undefined;
  const stop = async (deadlineMs: number): Promise<void> => {
    for (const { name, cause } of await group.stop(deadlineMs))
      log.error({ part: name, err: cause }, "did not stop cleanly");
    opened.close();
  };
  return {
    async start() {
      try {
        await group.start(FAILED_START_MS);
      } catch (error) {
        opened.close();
        throw error;
      }
    },
    stop(deadlineMs) {
      stopping ??= stop(deadlineMs);
      return stopping;
    },
  };
}

function createRegistry({ config, clock, log }: CoordinatorOptions, db: Db, bus: Bus): Registry {
  return new Registry(db, clock, log, bus, {
    staleAfterMs: config.registry.stale_after,
    deadAfterMs: config.registry.dead_after,
    agentNodesMax: config.registry.agent_nodes_max,
    plainNodesMax: config.registry.plain_nodes_max,
    configured: new Set(config.trackers.map((entry) => entry.node_id)),
    retentionMs: config.registry.node_retention,
  });
}

function tcpServerOptions({ tcp_server: tcp }: Config): TcpServerOptions {
  return {
    host: tcp.host ?? ANY_HOST,
    port: tcp.port,
    tls: tcp.tls,
    connectionsMax: tcp.connections_max,
    perAddressMax: tcp.connections_per_address_max,
    descriptorMax: frameDescriptorMax(),
  };
}

/** Where agents are told to connect; without a host, the one by which they reached us. */
function advertised({ advertise_frames: told, tcp_server: { tls } }: Config, port: number) {
  return { host: told?.host, port: told?.port ?? port, tls: told?.tls ?? tls !== undefined };
}

function createOutput({ config, outputDir, clock, log }: CoordinatorOptions): TrackLog {
  const { rotate_bytes: rotateBytes, keep_days: keepDays } = config.output;
  const totalBytesMax = config.output.total_bytes_max;
  return new TrackLog(outputDir, { rotateBytes, keepDays, totalBytesMax }, clock, log);
}

function createManager(
  options: CoordinatorOptions,
  db: Db,
  bus: Bus,
  output: TrackLog,
): TrackerManager {
  const { config, clock, random, log } = options;
  const tcp = config.tcp_server;
  return new TrackerManager(
    {
      clock,
      random,
      log,
      bus,
      output,
      pool: new PortPool(tcp.auto_provision_port_start, tcp.auto_provision_port_end),
      store: new TrackerStore(db, log),
      backlog: new SocketBacklog(clock),
      historyTotal: new RedeliveryTotal(),
      options: {
        command: options.trackerCommand,
        env: options.trackerEnv,
        stopGraceMs: config.tracker.stop_grace,
        extendedOutageMs: config.tracker.extended_outage,
        startTimeoutMs: config.tracker.start_timeout,
        stallTimeoutMs: config.tracker.stall_timeout,
      },
    },
    {
      autoProvision: tcp.auto_provision,
      perTokenMax: tcp.auto_provision_per_token_max,
      forgetAfterMs: (config.output.keep_days + 1) * DAY_MS,
      configured: new Map(config.trackers.map((entry) => [entry.node_id, feedOf(entry)])),
    },
  );
}

type TrackerEntry = Config["trackers"][number];

function feedOf(entry: TrackerEntry): Feed {
  const { name } = entry;
  if (entry.mode === "tcp") return { name, mode: "tcp", url: null };
  return { name, mode: "http", url: entry.detection_url.shown };
}

function createFetchers(
  { config, clock, random, log }: CoordinatorOptions,
  registry: Registry,
  manager: TrackerManager,
): Fetchers {
  const entries = config.trackers.filter((entry) => entry.mode === "http");
  return new Fetchers(
    { clock, random, log, registry, manager },
    entries.map(({ node_id: nodeId, interval: intervalMs, detection_url: url, ca }) => ({
      nodeId,
      intervalMs,
      ca,
      ...url,
    })),
  );
}

/** Where track files go unless the config says otherwise: beside the database, or the working directory for trials. */
export function defaultOutputDir(dataDir: string): string {
  return dataDir === MEMORY ? "tracks" : join(dataDir, "tracks");
}
