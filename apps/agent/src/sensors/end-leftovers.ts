/**
 * Ends the processes that a killed agent left running, before the first sensor starts: two runs of one sensor would compete for
 * its device and send its frames twice. Only processes that provably belong to a sensor are ended. (A11)
 */
import { readFileSync } from "node:fs";
import { type Clock, type Log, sleep, withDeadline } from "@fleet/daemon";
import { endOrphan, groupMembers, processIdentity, signalGroup } from "@fleet/supervisor";
import type { JournalEntry } from "./process-journal.ts";

/** From SIGTERM to SIGKILL; short, because nobody reads their output any more. */
const GRACE_MS = 1000;
/** For all processes together; longer than grace and kill take. */
const ALL_MS_MAX = 4000;
const POLL_MS = 10;

/** What ending leftovers needs. */
export interface LeftoversOptions {
  readonly entries: readonly JournalEntry[];
  readonly clock: Clock;
  readonly log: Log;
}

/** Ends all of them concurrently and logs each outcome. Never rejects; takes at most 4 s. */
export async function endLeftovers({ entries, clock, log }: LeftoversOptions): Promise<void> {
  const ends = Promise.all(entries.map((entry) => endOne(entry, clock, log)));
  await withDeadline(clock, clock.monotonicMs() + ALL_MS_MAX, ends).catch((err: unknown) =>
    log.warn({ err }, "could not end every process of an earlier agent in time"),
  );
}

async function endOne(entry: JournalEntry, clock: Clock, log: Log): Promise<void> {
  const { sensor, pid, bootId } = entry;
  if (processIdentity(process.pid)?.bootId !== bootId) return;
  const end = await endOrphan(entry, { clock, graceMs: GRACE_MS });
  if (end === "survived")
    return log.error({ sensor, pid }, "could not end a process of an earlier agent");
  if (end === "not_ours") return;
  const isChild = (member: number): boolean => end === "ended" || isOfSensor(member, sensor);
  const children = (): number[] => groupMembers(entry).filter(isChild);
  if (children().length > 0) signalGroup(pid, "SIGKILL");
  else if (end === "gone") return;
  // The kernel needs a moment to carry out a SIGKILL.
  while (children().length > 0) await sleep(clock, POLL_MS);
  log.warn({ sensor, pid }, "ended the processes an earlier agent left running");
}

/** The group's leader is gone and its id may have been reused; the environment of a member tells whose it is. */
function isOfSensor(pid: number, sensor: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/environ`, "utf8")
      .split("\0")
      .includes(`FLEET_SENSOR=${sensor}`);
  } catch {
    return false;
  }
}
