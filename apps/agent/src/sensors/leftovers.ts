/**
 * Ends what a killed agent left running, before the first sensor starts: two runs of one sensor would fight over its device
 * and send its frames twice. Only what is proven to be the sensor's is touched. (A11)
 */
import { readFileSync } from "node:fs";
import { type Clock, type Log, sleep, withDeadline } from "@fleet/daemon";
import { endOrphan, groupMembers, processIdentity, signalGroup } from "@fleet/supervisor";
import type { LedgerEntry } from "./process-journal.ts";

/** From TERM to KILL: nobody reads their output any more. */
const GRACE_MS = 1000;
/** All of them together: longer than grace and kill take. */
const ALL_MS_MAX = 4000;
const POLL_MS = 10;

/** What ending leftovers needs. */
export interface LeftoversOptions {
  readonly entries: readonly LedgerEntry[];
  readonly clock: Clock;
  readonly log: Log;
}

/** Ends all of them at once and says what became of each. Never rejects; takes 4 s at most. */
export async function endLeftovers({ entries, clock, log }: LeftoversOptions): Promise<void> {
  const ends = Promise.all(entries.map((entry) => endOne(entry, clock, log)));
  await withDeadline(clock, clock.monotonicMs() + ALL_MS_MAX, ends).catch((err: unknown) =>
    log.warn({ err }, "not all processes of an earlier agent could be ended"),
  );
}

async function endOne(entry: LedgerEntry, clock: Clock, log: Log): Promise<void> {
  const { sensor, pid, bootId } = entry;
  if (processIdentity(process.pid)?.bootId !== bootId) return;
  const end = await endOrphan(entry, { clock, graceMs: GRACE_MS });
  if (end === "survived")
    return log.error({ sensor, pid }, "a process of an earlier agent could not be ended");
  if (end === "not_ours") return;
  const isHeir = (member: number): boolean => end === "ended" || isSensors(member, sensor);
  const heirs = (): number[] => groupMembers(entry).filter(isHeir);
  if (heirs().length > 0) signalGroup(pid, "SIGKILL");
  else if (end === "gone") return;
  // KILL takes the kernel a moment.
  while (heirs().length > 0) await sleep(clock, POLL_MS);
  log.warn({ sensor, pid }, "ended what an earlier agent left running");
}

/** The leader is gone, and its id may have been a stranger's since: what its own environment says decides. */
function isSensors(pid: number, sensor: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/environ`, "utf8")
      .split("\0")
      .includes(`FLEET_SENSOR=${sensor}`);
  } catch {
    return false;
  }
}
