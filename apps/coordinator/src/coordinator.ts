/** The composition root: constructs the coordinator's parts, connects them, and starts and stops them in order. (T6) */
import { join } from "node:path";
import { type Clock, type Log, type Random, ServiceGroup } from "@fleet/daemon";
import { Auth } from "./auth/auth.ts";
import type { TokenSettings } from "./auth/tokens.ts";
import { Bus } from "./bus.ts";
import type { Config } from "./config/config.ts";
import { Committer } from "./db/commit.ts";
import { MEMORY, openDb, type OpenedDb } from "./db/open.ts";
import { createHttp } from "./http/create-http.ts";
import { AgentStreams } from "./agent-streams/agent-streams.ts";
import { AddressPolicy } from "./net/address-policy.ts";
import { Resolver } from "./net/resolver.ts";
import { StartupProbe } from "./registry/liveness/startup-probe.ts";
import type { RegistryOptions } from "./registry/node.ts";
import { createRegistry } from "./registry/registry.ts";
import { createTrackers } from "./trackers/create-trackers.ts";
import { createUplinks } from "./uplinks/create-uplinks.ts";
import { HealthPoller } from "./registry/liveness/health-poller.ts";

const FAILED_START_MS = 5000;

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
  const commits = new Committer(db, log, bus);
  const auth = new Auth({ ...options, db, commits });
  auth.requireTokens();
  const registry = createRegistry({ db, commits, clock, log }, registryOptions(config));
  const trackers = createTrackers({ ...options, db, bus });
  const { manager, trackLog } = trackers;
  const resolver = new Resolver(clock);
  const addresses = new AddressPolicy(config.registry.agent_url_deny);
  const uplinks = createUplinks({ ...options, db, auth, registry, manager, resolver });
  const streams = new AgentStreams(clock);
  registry.superseded.add((node) => uplinks.server.endSessions(node));
  registry.removed.add((nodes) => {
    uplinks.server.endNodes(nodes);
    uplinks.progress.forget(nodes);
  });
  const isWritable = (): boolean => !uplinks.progress.isFailing && !registry.isFailing;
  const wired = {
    bus,
    auth,
    registry,
    trackers,
    uplinks,
    streams,
    addresses,
    resolver,
    isWritable,
  };
  const http = createHttp({ ...options, ...wired });
  const intervalMs = config.registry.heartbeat_interval;
  const asking = { clock, resolver, addresses };
  const group = new ServiceGroup(clock, [
    { name: "auth", service: auth },
    { name: "registry", service: registry },
    { name: "stream progress", service: uplinks.progress },
    { name: "track log", service: trackLog },
    { name: "trackers", service: manager },
    { name: "fetchers", service: uplinks.fetchers },
    { name: "frames", service: uplinks.server },
    ...http.services,
    { name: "probe", service: new StartupProbe({ registry, log, ...asking }) },
    { name: "rounds", service: new HealthPoller({ registry, intervalMs, ...asking }) },
  ]);
  return {
    ...lifecycle(group, opened, log),
    get httpPort() {
      return http.server.port;
    },
    get framesPort() {
      return uplinks.server.port;
    },
  };
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

function registryOptions({ registry, trackers }: Config): RegistryOptions {
  return {
    staleAfterMs: registry.stale_after,
    deadAfterMs: registry.dead_after,
    agentNodesMax: registry.agent_nodes_max,
    plainNodesMax: registry.plain_nodes_max,
    configured: new Set(trackers.map((entry) => entry.node_id)),
    retentionMs: registry.node_retention,
  };
}

/** The default directory of track files: beside the database, or in the working directory if there is none. */
export function defaultTrackDir(dataDir: string): string {
  return dataDir === MEMORY ? "tracks" : join(dataDir, "tracks");
}
