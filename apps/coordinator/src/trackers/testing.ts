/** Trackers under a manager as it is in a coordinator: real processes, a real database, real files. For tests. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Clock, seededRandom, systemClock } from "@fleet/daemon";
import { FakeClock } from "@fleet/daemon/testing";
import { processIdentity } from "@fleet/supervisor";
import type { FakeSpawn } from "@fleet/supervisor/testing";
import { Bus } from "../bus.ts";
import { type Db, MEMORY, openDb } from "../db/open.ts";
import { trackers as trackerTable } from "../db/schema.ts";
import { freePorts, nodeId, RecordingLog, streamId, tempDir, until } from "../testing.ts";
import { RedeliveryTotal } from "./feed/redelivery-buffer.ts";
import { type Feed, PUSHED } from "./feed/feed.ts";
import { TrackerManager } from "./manager.ts";
import { TrackLog } from "./tracks/track-log.ts";
import { PortPool } from "./port-pool.ts";
import type { Tracker } from "./tracker.ts";
import type { TrackerOptions } from "./tracker-deps.ts";
import { type TrackerRow, TrackerStore } from "./tracker-store.ts";
import { SocketBacklog } from "./feed/socket-backlog.ts";

const SCRIPT = join(import.meta.dirname, "../../test/light-tracker.ts");
/** The stream most tests are about. */
export const STREAM = streamId("radar3.radar");
const FAR_MS = 60_000;
/** How long a stream is remembered without a frame. */
export const FORGET_MS = 15 * 86_400_000;
const FETCHED: Feed = { name: "hill", mode: "http", url: "http://hill/d" };
const ENV = { PATH: process.env["PATH"] ?? "" };

/** What a test wants otherwise. */
export interface RigOptions extends Partial<TrackerOptions> {
  readonly mode?: string;
  readonly ports?: number;
  readonly db?: Db;
  readonly clock?: Clock;
  readonly spawn?: FakeSpawn;
  readonly autoProvision?: boolean;
  readonly configured?: readonly string[];
  readonly fetched?: readonly string[];
  readonly perTokenMax?: number;
}

/** Real tracker processes, a real database, real files. */
export class Rig {
  readonly dir = tempDir();
  readonly log = new RecordingLog();
  readonly bus = new Bus();
  readonly historyTotal = new RedeliveryTotal();
  readonly states: string[] = [];
  readonly output: TrackLog;
  readonly manager: TrackerManager;
  readonly db: Db;
  readonly firstPort: number;
  readonly clock: Clock;

  constructor(options: RigOptions = {}) {
    const clock = options.clock ?? systemClock;
    this.clock = clock;
    this.firstPort = freePorts(options.ports ?? 4);
    this.db = options.db ?? openDb(MEMORY).db;
    this.bus.subscribe("tracker.>", ({ data }) => {
      const { stream_id: stream, state } = data as Record<string, string>;
      this.states.push(`${stream} ${state}`);
    });
    const limits = { rotateBytes: 1e6, keepDays: 1, totalBytesMax: 1e7 };
    this.output = new TrackLog(join(this.dir.path, "tracks"), limits, clock, this.log);
    this.output.start();
    if (options.spawn !== undefined) obey(options.spawn);
    this.manager = new TrackerManager(
      {
        clock,
        random: seededRandom(3),
        log: this.log,
        bus: this.bus,
        output: this.output,
        pool: new PortPool(this.firstPort, this.firstPort + (options.ports ?? 4) - 1),
        store: new TrackerStore(this.db, this.log),
        backlog: new SocketBacklog(clock),
        historyTotal: this.historyTotal,
        ...(options.spawn === undefined ? {} : { spawn: options.spawn.spawn }),
        options: {
          command: [
            process.execPath,
            SCRIPT,
            "{port}",
            join(this.dir.path, "{stream}.log"),
            options.mode ?? "",
          ],
          env: ENV,
          stopGraceMs: options.stopGraceMs ?? 2000,
          extendedOutageMs: options.extendedOutageMs ?? FAR_MS,
          startTimeoutMs: options.startTimeoutMs ?? FAR_MS,
          stallTimeoutMs: options.stallTimeoutMs ?? FAR_MS,
        },
      },
      {
        autoProvision: options.autoProvision ?? true,
        perTokenMax: options.perTokenMax ?? 100,
        forgetAfterMs: FORGET_MS,
        configured: new Map(
          (options.configured ?? []).map((node) => [
            nodeId(node),
            options.fetched?.includes(node) ? FETCHED : PUSHED,
          ]),
        ),
      },
    );
    rigs.push(this);
  }

  attach(stream = STREAM): Tracker {
    const tracker = this.manager.attach(stream);
    if (typeof tracker === "string") throw new Error(tracker);
    return tracker;
  }

  /** What the stream's trackers have noted down, over all runs. */
  noted(stream = STREAM): string[] {
    try {
      return readFileSync(join(this.dir.path, `${stream}.log`), "utf8")
        .split("\n")
        .slice(0, -1);
    } catch {
      return [];
    }
  }

  frames(stream = STREAM): number[] {
    return this.noted(stream)
      .filter((l) => l.startsWith("{"))
      .map((l) => (JSON.parse(l) as { timestamp: number }).timestamp);
  }

  row(stream: string = STREAM): typeof trackerTable.$inferSelect | undefined {
    return this.db
      .select()
      .from(trackerTable)
      .all()
      .find((r) => r.streamId === stream);
  }

  /** Writes rows as an earlier process left them. */
  left(...rows: readonly (Partial<TrackerRow> & { readonly streamId: string })[]): void {
    const blank = { source: "auto", run: 1, createdAt: this.clock.nowMs() } as const;
    this.db
      .insert(trackerTable)
      .values(rows.map((row) => ({ ...blank, ...row })))
      .run();
  }

  stop(withinMs = 5000): Promise<void> {
    return this.manager.stop(this.clock.monotonicMs() + withinMs);
  }
}

const rigs: Rig[] = [];

/** Ends all that was made; for `afterEach`. */
export async function endRigs(): Promise<void> {
  for (const rig of rigs.splice(0)) {
    let isStopped = false;
    const stopped = rig.stop().finally(() => (isStopped = true));
    const { clock } = rig;
    if (clock instanceof FakeClock)
      await until(
        () => isStopped,
        () => clock.advance(20),
      );
    await stopped;
    await rig.output.stop();
    rig.dir[Symbol.dispose]();
  }
}

function obey(spawn: FakeSpawn): void {
  spawn.onSpawn = (process) => {
    process.onSignal = () => process.exit(0);
  };
}

/** A frame with `n` for its time. */
export function frame(n: number, pad = ""): Uint8Array {
  return new TextEncoder().encode(
    `{"timestamp":${n},"delay":[],"doppler":[],"snr":[],"pad":"${pad}"}\n`,
  );
}

export function isAlive(pid: number): boolean {
  return processIdentity(pid) !== undefined;
}
