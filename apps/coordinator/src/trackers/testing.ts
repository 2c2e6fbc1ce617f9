/** Trackers for tests, built as in a coordinator: real processes, a real database, real files. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type Clock, seededRandom, systemClock } from "@fleet/daemon";
import { FakeClock } from "@fleet/daemon/testing";
import { processIdentity } from "@fleet/supervisor";
import type { FakeSpawn } from "@fleet/supervisor/testing";
import { Bus } from "../bus.ts";
import { type Config, parseConfig } from "../config/config.ts";
import { type Db, MEMORY, openDb } from "../db/open.ts";
import { trackers as trackerTable } from "../db/schema.ts";
import { freePorts, RecordingLog, streamId, tempDir, until } from "../testing.ts";
import { createTrackers, type Trackers } from "./create-trackers.ts";
import type { TrackerManager } from "./manager.ts";
import type { Tracker } from "./tracker.ts";
import type { TrackerOptions } from "./tracker-deps.ts";
import type { TrackerRow } from "./tracker-store.ts";

const SCRIPT = join(import.meta.dirname, "../../test/rig/light-tracker.ts");
/** The stream of most tests. */
export const STREAM = streamId("radar3.radar");
const FAR_MS = 60_000;
const PORTS = 4;
/** How long a stream without frames is remembered: the default `keep_days` and one more. */
export const FORGET_MS = 15 * 86_400_000;
const ENV = { PATH: process.env["PATH"] ?? "" };

/** What a test changes. */
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

/** The trackers of one test. `endRigs` stops them. */
export class Rig {
  readonly dir = tempDir();
  readonly log = new RecordingLog();
  readonly bus = new Bus();
  readonly states: string[] = [];
  readonly trackers: Trackers;
  readonly manager: TrackerManager;
  readonly db: Db;
  readonly firstPort: number;
  readonly clock: Clock;

  constructor(options: RigOptions = {}) {
    const clock = options.clock ?? systemClock;
    this.clock = clock;
    this.firstPort = freePorts(options.ports ?? PORTS);
    this.db = options.db ?? openDb(MEMORY).db;
    this.bus.subscribe("tracker.>", (event) => {
      if (event.kind === "tracker.state") this.states.push(`${event.streamId} ${event.data.state}`);
    });
    if (options.spawn !== undefined) obey(options.spawn);
    this.trackers = createTrackers({
      config: configOf(options, this.firstPort),
      clock,
      random: seededRandom(3),
      log: this.log,
      bus: this.bus,
      db: this.db,
      trackDir: join(this.dir.path, "tracks"),
      trackerCommand: [
        process.execPath,
        SCRIPT,
        "{port}",
        join(this.dir.path, "{stream}.log"),
        options.mode ?? "",
      ],
      trackerEnv: ENV,
      ...(options.spawn === undefined ? {} : { spawn: options.spawn.spawn }),
    });
    this.trackers.trackLog.start();
    this.manager = this.trackers.manager;
    rigs.push(this);
  }

  attach(stream = STREAM): Tracker {
    const tracker = this.manager.attach(stream);
    if (typeof tracker === "string") throw new Error(tracker);
    return tracker;
  }

  /** The lines that the stream's trackers have recorded, over all runs. */
  recorded(stream = STREAM): string[] {
    try {
      return readFileSync(join(this.dir.path, `${stream}.log`), "utf8")
        .split("\n")
        .slice(0, -1);
    } catch {
      return [];
    }
  }

  frames(stream = STREAM): number[] {
    return this.recorded(stream)
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

  /** Writes rows as an earlier process leaves them. */
  leaveRows(...rows: readonly (Partial<TrackerRow> & { readonly streamId: string })[]): void {
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

function configOf(options: RigOptions, firstPort: number): Config {
  return parseConfig("test", {
    tracker: {
      stop_grace: `${options.stopGraceMs ?? 2000}ms`,
      extended_outage: `${options.extendedOutageMs ?? FAR_MS}ms`,
      start_timeout: `${options.startTimeoutMs ?? FAR_MS}ms`,
      stall_timeout: `${options.stallTimeoutMs ?? FAR_MS}ms`,
    },
    tcp_server: {
      auto_provision: options.autoProvision,
      auto_provision_port_start: firstPort,
      auto_provision_port_end: firstPort + (options.ports ?? PORTS) - 1,
      auto_provision_per_token_max: options.perTokenMax ?? 100,
    },
    trackers: (options.configured ?? []).map((name) =>
      options.fetched?.includes(name)
        ? { name, mode: "http", detection_url: "http://hill/d" }
        : { name, mode: "tcp" },
    ),
  });
}

const rigs: Rig[] = [];

/** Stops every rig; for `afterEach`. */
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
    await rig.trackers.trackLog.stop();
    rig.dir[Symbol.dispose]();
  }
}

function obey(spawn: FakeSpawn): void {
  spawn.onSpawn = (process) => {
    process.onSignal = () => process.exit(0);
  };
}

/** A frame with the timestamp `n`. */
export function frame(n: number, pad = ""): Uint8Array {
  return new TextEncoder().encode(
    `{"timestamp":${n},"delay":[],"doppler":[],"snr":[],"pad":"${pad}"}\n`,
  );
}

export function isAlive(pid: number): boolean {
  return processIdentity(pid) !== undefined;
}
