/**
 * Processes a killed predecessor of ours left behind: recognised by pid, start time and boot, and ended. (T5)
 * A pid alone proves nothing, it is reused; with the start time, on the same boot, it names one process. Linux only (/proc).
 */
import { readdirSync, readFileSync } from "node:fs";

import { type Clock, sleep } from "@fleet/daemon";

import { type GroupSignal, signalGroup } from "./spawn.ts";

const BOOT_ID_PATH = "/proc/sys/kernel/random/boot_id";
const POLL_MS = 20;
/** How long a killed orphan may take to go. */
const KILL_WAIT_MS = 2000;

/** What names one process for ever: `startTicks` is field 22 of /proc/PID/stat (clock ticks since boot), `bootId` a UUID. */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startTicks: number;
  readonly bootId: string;
}

/** What became of an orphan. `not_ours`: the pid is another process's now, or ourselves. `survived`: it may not be signalled, or KILL did not end it in 2 s. */
export type OrphanEnd = "gone" | "ended" | "not_ours" | "survived";

/** The identity of the process that has `pid` now. Undefined when there is none, or only a zombie. Record it right after the spawn. */
export function processIdentity(pid: number): ProcessIdentity | undefined {
  const stat = readStat(pid);
  if (stat === undefined) return undefined;
  return { pid, startTicks: stat.startTicks, bootId: readFileSync(BOOT_ID_PATH, "utf8").trim() };
}

/** Ends the process `identity` names, if it still runs: TERM to its group, KILL after `graceMs`. Others are left alone. */
export async function endOrphan(
  identity: ProcessIdentity,
  options: { readonly clock: Clock; readonly graceMs: number },
): Promise<OrphanEnd> {
  const { clock, graceMs } = options;
  const now = processIdentity(identity.pid);
  if (now === undefined) return "gone";
  if (!same(now, identity) || identity.pid === process.pid || identity.pid <= 1) return "not_ours";
  if (!signal(identity, "SIGTERM")) return isThere(identity) ? "survived" : "ended";
  if (!(await isGoneWithin(clock, identity, graceMs))) {
    signal(identity, "SIGKILL");
    return (await isGoneWithin(clock, identity, KILL_WAIT_MS)) ? "ended" : "survived";
  }
  // What else was in its group did not take the hint.
  signalGroup(identity.pid, "SIGKILL");
  return "ended";
}

/**
 * The living processes of the group and session that `leader` began, itself left out. It may be gone: then they are the
 * leader's only as far as its id was not used again since, which the caller has to make sure of.
 */
export function groupMembers(leader: ProcessIdentity): number[] {
  return readdirSync("/proc")
    .map(Number)
    .filter((pid) => {
      if (!Number.isInteger(pid) || pid === leader.pid) return false;
      const stat = readStat(pid);
      return (
        stat?.group === leader.pid &&
        stat.session === leader.pid &&
        stat.startTicks >= leader.startTicks
      );
    });
}

function same(a: ProcessIdentity, b: ProcessIdentity): boolean {
  return a.pid === b.pid && a.startTicks === b.startTicks && a.bootId === b.bootId;
}

function isThere(identity: ProcessIdentity): boolean {
  const now = processIdentity(identity.pid);
  return now !== undefined && same(now, identity);
}

async function isGoneWithin(
  clock: Clock,
  identity: ProcessIdentity,
  waitMs: number,
): Promise<boolean> {
  const endMs = clock.monotonicMs() + waitMs;
  while (isThere(identity)) {
    const leftMs = endMs - clock.monotonicMs();
    if (leftMs <= 0) return false;
    await sleep(clock, Math.min(POLL_MS, leftMs));
  }
  return true;
}

/** To the group it leads; to itself alone when it leads none. */
function signal(identity: ProcessIdentity, name: GroupSignal): boolean {
  const stat = readStat(identity.pid);
  if (stat?.startTicks !== identity.startTicks) return false;
  if (stat.group === identity.pid) return signalGroup(identity.pid, name);
  try {
    return process.kill(identity.pid, name);
  } catch {
    return false;
  }
}

interface Stat {
  readonly group: number;
  readonly session: number;
  readonly startTicks: number;
}

/** Fields of /proc/PID/stat. The second one, the name, may hold spaces and parentheses, so fields count from the last `)`. */
export function parseStat(text: string): (Stat & { readonly state: string }) | undefined {
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const [state, , group, session] = fields;
  const startTicks = Number(fields[19]);
  if (state === undefined || state === "" || !Number.isSafeInteger(startTicks)) return undefined;
  return { state, group: Number(group), session: Number(session), startTicks };
}

function readStat(pid: number): Stat | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return undefined;
  }
  const stat = parseStat(text);
  return stat === undefined || stat.state === "Z" || stat.state === "X" ? undefined : stat;
}
