/** What trackers are made with. */
import type { Clock, Log, Random } from "@fleet/daemon";
import type { Spawn } from "@fleet/supervisor";
import type { Bus } from "../bus.ts";
import type { RedeliveryBudget } from "./feed/redelivery-buffer.ts";
import type { TrackLog } from "./tracks/track-log.ts";
import type { PortPool } from "./port-pool.ts";
import type { TrackerStore } from "./tracker-store.ts";
import type { SocketBacklog } from "./feed/socket-backlog.ts";

/** How trackers are run. */
export interface TrackerOptions {
  /** argv; `{port}` and `{stream}` stand for the lease and the stream id. */
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly stopGraceMs: number;
  readonly extendedOutageMs: number;
  readonly startTimeoutMs: number;
  /** How long a tracker may read nothing while something is there for it. */
  readonly stallTimeoutMs: number;
}

/** What every tracker shares. */
export interface TrackerDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly bus: Bus;
  readonly pool: PortPool;
  readonly store: TrackerStore;
  readonly trackLog: TrackLog;
  readonly backlog: SocketBacklog;
  /** What is kept for later runs of all trackers. */
  readonly redeliveryBudget: RedeliveryBudget;
  /** How processes are begun; tests have others. */
  readonly spawn?: Spawn;
  readonly options: TrackerOptions;
}
