/** Builds the HTTP API: its application, listener and limits. Used by the composition root and by every test rig. */
import { type Clock, Counts, type Log, type NamedService, type Random } from "@fleet/daemon";
import type { Hono } from "hono";
import type { AgentStreams } from "../agent-streams/agent-streams.ts";
import type { Auth } from "../auth/auth.ts";
import type { Bus } from "../bus.ts";
import { type Config, DEFAULT_HOST } from "../config/config.ts";
import { ActiveDownloads } from "../downloads/active-downloads.ts";
import { AgentBinaries } from "../downloads/agent-binaries.ts";
import { Metrics, type MetricsSources } from "../metrics/metrics.ts";
import type { Registry } from "../registry/registry.ts";
import type { Frames } from "./agents/frame-endpoint.ts";
import { RegisterLimiter } from "./agents/register-limiter.ts";
import { createApp } from "./app.ts";
import type { AddressPolicy } from "../net/address-policy.ts";
import type { Resolver } from "../net/resolver.ts";
import { type AppEnv, HttpServer } from "./server.ts";

/** Concurrent agent downloads. Each costs an open file and bandwidth, but almost no memory. */
const DOWNLOADS_MAX = 32;

/** What the API works with. */
export interface HttpOptions {
  readonly config: Pick<Config, "http" | "agent_binaries"> & {
    readonly registry: Pick<Config["registry"], "heartbeat_interval" | "reenroll">;
  };
  readonly version: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly bus: Bus;
  readonly auth: Auth;
  readonly registry: Registry;
  readonly trackers: MetricsSources["trackers"];
  readonly uplinks: MetricsSources["uplinks"] & { readonly endpoint: Frames };
  readonly streams: AgentStreams;
  /** Whether the database can be written. */
  readonly isWritable: () => boolean;
  /** Judges the URLs that agents register. */
  readonly addresses: AddressPolicy;
  readonly resolver: Pick<Resolver, "outcomes">;
  /** The most concurrent agent downloads. */
  readonly downloadsMax?: number;
}

/** The parts, and `services` in the order in which they start. */
export interface Http {
  readonly app: Hono<AppEnv>;
  readonly server: HttpServer;
  readonly downloads: ActiveDownloads;
  readonly registerLimiter: RegisterLimiter;
  readonly services: readonly NamedService[];
}

/** Builds the parts and ends agents' streams that have lost their claim; starts nothing. */
export function createHttp(options: HttpOptions): Http {
  const { config, clock, random, log, auth, registry, trackers, uplinks, streams } = options;
  registry.superseded.add((node) => streams.end(node, "superseded"));
  registry.removed.add((nodes) => {
    for (const node of nodes) streams.end(node, "token_revoked");
  });
  const registerLimiter = new RegisterLimiter(clock, random);
  const downloads = new ActiveDownloads(clock, options.downloadsMax ?? DOWNLOADS_MAX);
  const downloadResponses = new Counts();
  const app = createApp({
    ...options,
    manager: trackers.manager,
    registerLimiter,
    metrics: new Metrics({
      clock,
      auth,
      registry,
      trackers,
      uplinks,
      streams: () => streams.size,
      deferred: () => registerLimiter.refused,
      isWritable: options.isWritable,
      downloads: downloadResponses,
      lookups: options.resolver.outcomes,
    }),
    binaries: new AgentBinaries(config.agent_binaries),
    downloads,
    downloadResponses,
    heartbeatIntervalMs: config.registry.heartbeat_interval,
    reenroll: config.registry.reenroll === "allow",
    frames: uplinks.endpoint,
    addresses: options.addresses,
    isMetricsClosed: config.http.metrics === "viewer",
  });
  const { host = DEFAULT_HOST, port, tls } = config.http;
  const server = new HttpServer({ host, port, tls }, app, clock, log);
  return {
    app,
    server,
    downloads,
    registerLimiter,
    services: [
      { name: "downloads", service: downloads },
      { name: "agents' streams", service: streams },
      { name: "http", service: server },
    ],
  };
}
