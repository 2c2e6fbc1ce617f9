/**
 * Builds the trackers of a coordinator and their track log from its configuration. The composition root and every test rig
 * use it.
 */
import type { Clock, Log, Random } from "@fleet/daemon";
import type { Spawn } from "@fleet/supervisor";
import type { Bus } from "../bus.ts";
import type { Config } from "../config/config.ts";
import type { Db } from "../db/open.ts";
import type { Feed } from "./feed/feed.ts";
import { RedeliveryBudget } from "./feed/redelivery-buffer.ts";
import { SocketBacklog } from "./feed/socket-backlog.ts";
import { TrackerManager } from "./manager.ts";
import { PortPool } from "./port-pool.ts";
import { TrackerStore } from "./tracker-store.ts";
import { TrackLog } from "./tracks/track-log.ts";

const DAY_MS = 86_400_000;

/** What the trackers of one coordinator are built from. */
export interface TrackersOptions {
  readonly config: Pick<Config, "tracker" | "trackers" | "tcp_server" | "output">;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly bus: Bus;
  readonly db: Db;
  /** The directory of track files. */
  readonly trackDir: string;
  /** argv of a tracker process, with `{port}` and `{stream}` as placeholders. */
  readonly trackerCommand: readonly string[];
  readonly trackerEnv: Readonly<Record<string, string>>;
  /** Starts tracker processes; tests replace it. */
  readonly spawn?: Spawn;
}

/** The parts. Start `trackLog` before `manager` and stop it after. */
export interface Trackers {
  readonly manager: TrackerManager;
  readonly trackLog: TrackLog;
  readonly redeliveryBudget: RedeliveryBudget;
}

/** Builds the parts; starts none of them. */
export function createTrackers(options: TrackersOptions): Trackers {
  const { config, clock, random, log, bus, db, spawn } = options;
  const { tracker, tcp_server: tcp, output } = config;
  const trackLog = new TrackLog(
    options.trackDir,
    {
      rotateBytes: output.rotate_bytes,
      keepDays: output.keep_days,
      totalBytesMax: output.total_bytes_max,
    },
    clock,
    log,
  );
  const redeliveryBudget = new RedeliveryBudget();
  const manager = new TrackerManager(
    {
      clock,
      random,
      log,
      bus,
      trackLog,
      redeliveryBudget,
      ...(spawn === undefined ? {} : { spawn }),
      pool: new PortPool(tcp.auto_provision_port_start, tcp.auto_provision_port_end),
      store: new TrackerStore(db, log),
      backlog: new SocketBacklog(clock),
      options: {
        command: options.trackerCommand,
        env: options.trackerEnv,
        stopGraceMs: tracker.stop_grace,
        extendedOutageMs: tracker.extended_outage,
        startTimeoutMs: tracker.start_timeout,
        stallTimeoutMs: tracker.stall_timeout,
      },
    },
    {
      autoProvision: tcp.auto_provision,
      perTokenMax: tcp.auto_provision_per_token_max,
      // By then no track file is left that holds the stream's old run numbers.
      forgetAfterMs: (output.keep_days + 1) * DAY_MS,
      configured: new Map(config.trackers.map((entry) => [entry.node_id, feedOf(entry)])),
    },
  );
  return { manager, trackLog, redeliveryBudget };
}

function feedOf(entry: Config["trackers"][number]): Feed {
  const { name } = entry;
  if (entry.mode === "tcp") return { name, mode: "tcp", url: null };
  return { name, mode: "http", url: entry.detection_url.shown };
}
