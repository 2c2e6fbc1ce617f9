/**
 * Records the running processes of all sensors in `<state-dir>/processes.json`, so that the next start of a killed agent can end
 * what it left running (end-leftovers.ts). (A11)
 *
 * The file is replaced atomically but not synced: only entries of the current boot matter, and a crash of the machine ends the
 * boot. A process that was started in the instant before a kill may be missing.
 */
import { closeSync, constants, fstatSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Log, writeFileAtomically } from "@fleet/daemon";
import { type SensorName, sensorNameSchema } from "@fleet/protocol";
import { type ProcessIdentity, processIdentity, type Spawn } from "@fleet/supervisor";
import { z } from "zod";

const FILE_NAME = "processes.json";
const FILE_BYTES_MAX = 256 * 1024;
/** Far more than the sensors of a node, each with one process at a time. */
const ENTRIES_MAX = 1024;

const fileSchema = z
  .array(
    z.object({
      sensor: sensorNameSchema,
      pid: z.int().min(2),
      start_ticks: z.int().min(0),
      boot_id: z.string().max(64),
    }),
  )
  .max(ENTRIES_MAX);

/** One process of a sensor. It is the leader of a process group. */
export interface JournalEntry extends ProcessIdentity {
  readonly sensor: SensorName;
}

/** The only writer of the file. */
export class ProcessJournal {
  readonly #path: string | undefined;
  readonly #log: Log;
  readonly #entries = new Map<number, JournalEntry>();
  #isFailing = false;

  /** Without a `stateDir` nothing is recorded. */
  constructor(stateDir: string | undefined, log: Log) {
    this.#path = stateDir === undefined ? undefined : join(stateDir, FILE_NAME);
    this.#log = log;
  }

  /** Wraps `spawn` so that each process is recorded from its start to its end. */
  tracking(sensor: SensorName, spawn: Spawn): Spawn {
    if (this.#path === undefined) return spawn;
    return (request) => {
      const child = spawn(request);
      const identity = processIdentity(child.pid);
      if (identity === undefined) return child;
      const entry = { ...identity, sensor };
      this.#entries.set(child.pid, entry);
      this.#save();
      // One turn later, after the supervisor has killed the group: an entry without a process is better than the reverse.
      void child.exited.then(() => {}).then(() => this.#remove(entry));
      return child;
    };
  }

  #remove(entry: JournalEntry): void {
    // Another process may have this pid by now.
    if (this.#entries.get(entry.pid) !== entry) return;
    this.#entries.delete(entry.pid);
    this.#save();
  }

  #save(): void {
    const path = this.#path!;
    const body = [...this.#entries.values()].map(({ sensor, pid, startTicks, bootId }) => ({
      sensor,
      pid,
      start_ticks: startTicks,
      boot_id: bootId,
    }));
    try {
      writeFileAtomically(path, `${JSON.stringify(body)}\n`, { isSynced: false });
      this.#isFailing = false;
    } catch (err) {
      if (!this.#isFailing)
        this.#log.warn(
          { err, path },
          "could not record the sensors' processes; a killed agent may leave them running",
        );
      this.#isFailing = true;
    }
  }
}

/** The processes that the last agent with this state directory recorded. An unusable file is logged and counts as empty. */
export function readProcessJournal(stateDir: string, log: Log): readonly JournalEntry[] {
  const path = join(stateDir, FILE_NAME);
  try {
    const entries = fileSchema.parse(JSON.parse(readOwn(path)));
    return entries.map(({ sensor, pid, start_ticks, boot_id }) => ({
      sensor,
      pid,
      startTicks: start_ticks,
      bootId: boot_id,
    }));
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code !== "ENOENT")
      log.warn(
        { err, path },
        "could not read the recorded processes; processes of an earlier agent may still run",
      );
    return [];
  }
}

/** Reads a plain file of our own user; a forged one could make the agent end other processes. */
function readOwn(path: string): string {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw new Error("not a plain file");
    if (stat.uid !== process.geteuid?.()) throw new Error(`owned by uid ${stat.uid}`);
    if (stat.size > FILE_BYTES_MAX) throw new Error(`longer than ${FILE_BYTES_MAX} bytes`);
    return readFileSync(fd, "utf8");
  } finally {
    closeSync(fd);
  }
}
