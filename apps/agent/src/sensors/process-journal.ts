/**
 * Which processes of its sensors run, in `<state-dir>/processes.json`, so that an agent that was killed can be cleaned up
 * after: its next start ends what it left (leftovers.ts). (A11)
 *
 * The file is replaced as a whole but not synced: whoever reads it is on the same boot, and what was written before a crash
 * of the machine names processes of a boot that is over. A process that was begun in the instant before a kill may be missing.
 */
import { closeSync, constants, fstatSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Log, writeFileAtomically } from "@fleet/daemon";
import { type SensorName, sensorNameSchema } from "@fleet/protocol";
import { type ProcessIdentity, processIdentity, type Spawn } from "@fleet/supervisor";
import { z } from "zod";

const FILE_NAME = "processes.json";
const FILE_BYTES_MAX = 256 * 1024;
/** Far more than there are sensors, each with one process at a time. */
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

/** One process of a sensor. It leads a process group. */
export interface LedgerEntry extends ProcessIdentity {
  readonly sensor: SensorName;
}

/** The one writer of the file. */
export class ProcessJournal {
  readonly #path: string | undefined;
  readonly #log: Log;
  readonly #entries = new Map<number, LedgerEntry>();
  #isFailing = false;

  /** Without a `stateDir` nothing is kept. */
  constructor(stateDir: string | undefined, log: Log) {
    this.#path = stateDir === undefined ? undefined : join(stateDir, FILE_NAME);
    this.#log = log;
  }

  /** `spawn`, with each process written down from its start to its end. */
  tracking(sensor: SensorName, spawn: Spawn): Spawn {
    if (this.#path === undefined) return spawn;
    return (request) => {
      const child = spawn(request);
      const identity = processIdentity(child.pid);
      if (identity === undefined) return child;
      const entry = { ...identity, sensor };
      this.#entries.set(child.pid, entry);
      this.#save();
      // A turn later: whoever runs it kills its group at its exit, and an entry without a process is better than the reverse.
      void child.exited.then(() => {}).then(() => this.#remove(entry));
      return child;
    };
  }

  #remove(entry: LedgerEntry): void {
    // The pid may be another one's by now.
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
        this.#log.warn({ err, path }, "the sensors' processes can't be written down");
      this.#isFailing = true;
    }
  }
}

/** What the last agent with this state directory wrote down. A file that can't be used is told of and counts as empty. */
export function readLedger(stateDir: string, log: Log): readonly LedgerEntry[] {
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
      log.warn({ err, path }, "the list of sensors' processes can't be read; leftovers stay");
    return [];
  }
}

/** A plain file of ours; anything else could make us end what we shouldn't. */
function readOwn(path: string): string {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw new Error("not a plain file");
    if (stat.uid !== process.geteuid?.()) throw new Error(`it belongs to uid ${stat.uid}`);
    if (stat.size > FILE_BYTES_MAX) throw new Error(`longer than ${FILE_BYTES_MAX} bytes`);
    return readFileSync(fd, "utf8");
  } finally {
    closeSync(fd);
  }
}
