/**
 * Builds what accepts frames, from the configuration: the frame port, the fetchers and the progress of streams. The
 * composition root and every test rig use it.
 */
import { type Clock, Counts, type Log, type Random } from "@fleet/daemon";
import type { Auth } from "../auth/auth.ts";
import { type Config, DEFAULT_HOST } from "../config/config.ts";
import type { Db } from "../db/open.ts";
import { frameDescriptorMax } from "../net/descriptors.ts";
import type { Resolver } from "../net/resolver.ts";
import type { Registry } from "../registry/registry.ts";
import type { TrackerManager } from "../trackers/manager.ts";
import { Fetchers } from "./fetch/fetchers.ts";
import { ProgressStore } from "./sessions/stream-progress.ts";
import { TcpServer } from "./tcp-server.ts";

/** What the uplinks of one coordinator are built from. */
export interface UplinksOptions {
  readonly config: Pick<Config, "tcp_server" | "trackers" | "advertise_frames">;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly db: Db;
  readonly auth: Auth;
  readonly registry: Registry;
  readonly manager: TrackerManager;
  readonly resolver: Resolver;
  /** The highest file descriptor of a frame connection; by default what the process's limit allows. */
  readonly descriptorMax?: number;
}

/** The parts. Start `progress` before the trackers, `fetchers` and `server` after them; stop in reverse. */
export interface Uplinks {
  readonly progress: ProgressStore;
  readonly fetchers: Fetchers;
  readonly server: TcpServer;
  /** Lines and connections refused, by reason. */
  readonly refused: Counts;
  /** Where agents are to connect; `host` undefined stands for the host they reached the API by. */
  readonly endpoint: () => {
    readonly host: string | undefined;
    readonly port: number;
    readonly tls: boolean;
  };
}

/** Builds the parts; starts none of them. */
export function createUplinks(options: UplinksOptions): Uplinks {
  const { config, clock, random, log, auth, registry, manager } = options;
  const { tcp_server: tcp, advertise_frames: advertised } = config;
  const refused = new Counts();
  const progress = new ProgressStore(options.db, clock, log);
  const fetchers = new Fetchers(
    { clock, random, log, registry, manager, resolver: options.resolver },
    config.trackers
      .filter((entry) => entry.mode === "http")
      .map(({ node_id: nodeId, interval: intervalMs, detection_url: url, ca }) => ({
        nodeId,
        intervalMs,
        ca,
        ...url,
      })),
  );
  const server = new TcpServer(
    {
      host: tcp.host ?? DEFAULT_HOST,
      port: tcp.port,
      tls: tcp.tls,
      connectionsMax: tcp.connections_max,
      perAddressMax: tcp.connections_per_address_max,
      descriptorMax: options.descriptorMax ?? frameDescriptorMax(),
    },
    { clock, log, auth, registry, manager, store: progress, counts: refused },
  );
  auth.tokens.ended.add((token) => server.endToken(token.id));
  return {
    progress,
    fetchers,
    server,
    refused,
    endpoint: () => ({
      host: advertised?.host,
      port: advertised?.port ?? server.port,
      tls: advertised?.tls ?? tcp.tls !== undefined,
    }),
  };
}
