/** What trackers are built from. createTrackers fills it in. */
import type { Clock, Log, Random } from "@fleet/daemon";
import type { Spawn } from "@fleet/supervisor";
import type { Bus } from "../bus.ts";
import type { RedeliveryBudget } from "./feed/redelivery-buffer.ts";
import type { TrackLog } from "./tracks/track-log.ts";
import type { PortPool } from "./port-pool.ts";
import type { TrackerStore } from "./tracker-store.ts";
import type { SocketBacklog } from "./feed/socket-backlog.ts";

/** How tracker processes run. */
export interface TrackerOptions {
  /** argv; `{port}` and `{stream}` are replaced by the leased port and the stream id. */
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly stopGraceMs: number;
  readonly extendedOutageMs: number;
  readonly startTimeoutMs: number;
  /** How long a tracker may read nothing while bytes wait for it. */
  readonly stallTimeoutMs: number;
}

/** What all trackers share. */
export interface TrackerDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly bus: Bus;
  readonly pool: PortPool;
  readonly store: TrackerStore;
  readonly trackLog: TrackLog;
  readonly backlog: SocketBacklog;
  /** The memory for redelivery that all trackers share. */
  readonly redeliveryBudget: RedeliveryBudget;
  /** Starts processes; tests replace it. */
  readonly spawn?: Spawn;
  readonly options: TrackerOptions;
}
