/** The composition root: constructs the coordinator's parts, connects them, and starts and stops them in order. (T6) */
import { join } from "node:path";
import { type Clock, Counts, type Log, type Random, ServiceGroup } from "@fleet/daemon";
import { Auth, type TokenSettings } from "./auth/auth.ts";
import { Bus } from "./bus.ts";
import type { Config } from "./config/config.ts";
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
import { createTrackers, type Trackers } from "./trackers/create-trackers.ts";
import { createUplinks, type Uplinks } from "./uplinks/create-uplinks.ts";
import { HealthPoller } from "./registry/liveness/health-poller.ts";

const FAILED_START_MS = 5000;
const ANY_HOST = "0.0.0.0";
/** Concurrent agent downloads. Each costs an open file and bandwidth, but almost no memory. */
const DOWNLOADS_MAX = 32;

/** What `serve` has read from flags, environment and files. */
export interface CoordinatorOptions {
  readonly config: Config;
  readonly dataDir: string;
  /** The directory of track files. */
  readonly trackDir: string;
  readonly tokens: TokenSettings;
  /** argv of a tracker; `{port}` and `{stream}` are replaced. */
  readonly trackerCommand: readonly string[];
  /** The environment of trackers: ours without our secrets. */
  readonly trackerEnv: Readonly<Record<string, string>>;
  readonly version: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** A coordinator. It can be started once; if its start fails, it has stopped. */
export interface Coordinator {
  start(): Promise<void>;
  /** Stops by `deadlineMs`, monotonic. Further calls return the same promise. */
  stop(deadlineMs: number): Promise<void>;
  readonly httpPort: number;
  readonly framesPort: number;
}

/**
 * Opens the data directory and constructs the parts. Throws DataDirError, DatabaseDamagedError, DatabaseTooNewError,
 * KeyFileError or ConfigError.
 */
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
  const auth = new Auth(db, options.dataDir, clock, log, options.tokens);
  auth.requireTokens();
  const registry = createRegistry(options, db, bus);
  const trackers = createTrackers({ ...options, db, bus });
  const { manager, trackLog } = trackers;
  const uplinks = createUplinks({ ...options, db, auth, registry, manager });
  const streams = new AgentStreams(clock);
  registry.onSuperseded = (node) => {
    const [hadSession, hadStream] = [
      uplinks.server.endSessions(node),
      streams.end(node, "superseded"),
    ];
    return hadSession || hadStream;
  };
  registry.onRemoved = (nodes) => {
    uplinks.server.endNodes(nodes);
    for (const node of nodes) streams.end(node, "token_revoked");
    uplinks.progress.forget(nodes);
  };
  const parts: Parts = { auth, registry, trackers, uplinks, streams, bus };
  const downloads = new ActiveDownloads(clock, DOWNLOADS_MAX);
  const { host = ANY_HOST, port, tls } = config.http;
  const app = createHttpApp(options, parts, downloads);
  const http = new HttpServer({ host, port, tls }, app, clock, log);
  const intervalMs = config.registry.heartbeat_interval;
  const group = new ServiceGroup(clock, [
    { name: "auth", service: auth },
    { name: "registry", service: registry },
    { name: "stream progress", service: uplinks.progress },
    { name: "track log", service: trackLog },
    { name: "trackers", service: manager },
    { name: "fetchers", service: uplinks.fetchers },
    { name: "frames", service: uplinks.server },
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
      return uplinks.server.port;
    },
  };
}

/** What the HTTP face shows and works with. */
interface Parts {
  readonly auth: Auth;
  readonly registry: Registry;
  readonly trackers: Trackers;
  readonly uplinks: Uplinks;
  readonly streams: AgentStreams;
  readonly bus: Bus;
}

function createHttpApp(
  { config, clock, random, log, version }: CoordinatorOptions,
  { auth, registry, trackers, uplinks, streams, bus }: Parts,
  downloads: ActiveDownloads,
): ReturnType<typeof createApp> {
  const answers = new Counts();
  const isWritable = (): boolean => !uplinks.progress.failing && !registry.failing;
  const registerLimiter = new RegisterLimiter(clock, random);
  return createApp({
    registry,
    auth,
    clock,
    log,
    manager: trackers.manager,
    bus,
    streams,
    registerLimiter,
    metrics: new Metrics({
      auth,
      registry,
      trackers,
      uplinks,
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
    frames: uplinks.endpoint,
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

/** The default directory of track files: beside the database, or in the working directory if there is none. */
export function defaultTrackDir(dataDir: string): string {
  return dataDir === MEMORY ? "tracks" : join(dataDir, "tracks");
}
