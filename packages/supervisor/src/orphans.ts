/**
 * Finds and ends processes left behind by a killed predecessor of this process. A pid alone is ambiguous because it is reused;
 * together with the start time and the boot id it identifies one process. Linux only (/proc). (T5)
 */
import { readdirSync, readFileSync } from "node:fs";

import { type Clock, sleep } from "@fleet/daemon";

import { type GroupSignal, signalGroup } from "./spawn.ts";

const BOOT_ID_PATH = "/proc/sys/kernel/random/boot_id";
const POLL_MS = 20;
/** How long a killed orphan may take to exit. */
const KILL_WAIT_MS = 2000;

/** Identifies one process uniquely: `startTicks` is field 22 of /proc/PID/stat (clock ticks since boot), `bootId` a UUID. */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startTicks: number;
  readonly bootId: string;
}

/**
 * The result of `endOrphan`. `gone`: it had already exited. `not_ours`: the pid now belongs to another process, or to this one.
 * `survived`: it may not be signalled, or KILL did not end it within KILL_WAIT_MS.
 */
export type OrphanEnd = "gone" | "ended" | "not_ours" | "survived";

/** The identity of the process with this `pid`; undefined for none or a zombie. To be recorded right after a spawn. */
export function processIdentity(pid: number): ProcessIdentity | undefined {
  const stat = readStat(pid);
  if (stat === undefined) return undefined;
  return { pid, startTicks: stat.startTicks, bootId: readFileSync(BOOT_ID_PATH, "utf8").trim() };
}

/** Ends the identified process, if it still runs: sends TERM to its group, and KILL after `graceMs`. Never signals another process. */
export async function endOrphan(
  identity: ProcessIdentity,
  options: { readonly clock: Clock; readonly graceMs: number },
): Promise<OrphanEnd> {
  const { clock, graceMs } = options;
  const now = processIdentity(identity.pid);
  if (now === undefined) return "gone";
  if (!isSameProcess(now, identity) || identity.pid === process.pid || identity.pid <= 1)
    return "not_ours";
  if (!signalOrphan(identity, "SIGTERM")) return isRunning(identity) ? "survived" : "ended";
  if (!(await isGoneWithin(clock, identity, graceMs))) {
    signalOrphan(identity, "SIGKILL");
    return (await isGoneWithin(clock, identity, KILL_WAIT_MS)) ? "ended" : "survived";
  }
  // Other members of its group may have ignored TERM.
  signalGroup(identity.pid, "SIGKILL");
  return "ended";
}

/**
 * The running processes in the group and session of `leader`, without the leader itself. If the leader has exited, the caller
 * must make sure that its pid has not been reused since.
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

/**
 * Finds processes without a supervisor: they belong to our user, lead a session as every supervised process does, and were
 * reparented to an init (process 1 or one of our ancestors). `matches` filters by argv. For processes spawned so shortly before
 * a kill that their identity was not recorded.
 */
export function findOrphans(matches: (argv: readonly string[]) => boolean): ProcessIdentity[] {
  const inits = ancestors();
  const uid = process.getuid?.();
  const found: ProcessIdentity[] = [];
  for (const name of readdirSync("/proc")) {
    const pid = Number(name);
    const stat = Number.isInteger(pid) && pid > 1 ? readStat(pid) : undefined;
    if (stat === undefined || stat.session !== pid || !inits.has(stat.parent)) continue;
    if (!matches(argvOf(pid, uid))) continue;
    const identity = processIdentity(pid);
    if (identity?.startTicks === stat.startTicks) found.push(identity);
  }
  return found;
}

function ancestors(): ReadonlySet<number> {
  const found = new Set([1]);
  for (let pid = process.ppid; pid > 1 && !found.has(pid); pid = readStat(pid)?.parent ?? 0)
    found.add(pid);
  return found;
}

/** Empty when the process belongs to another user or has exited. */
function argvOf(pid: number, uid: number | undefined): readonly string[] {
  try {
    // The owner of /proc/PID cannot be used: it is root for a process that is not dumpable.
    const owner = /^Uid:\t(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    if (Number(owner) !== uid) return [];
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").slice(0, -1);
  } catch {
    return [];
  }
}

function isSameProcess(a: ProcessIdentity, b: ProcessIdentity): boolean {
  return a.pid === b.pid && a.startTicks === b.startTicks && a.bootId === b.bootId;
}

function isRunning(identity: ProcessIdentity): boolean {
  const now = processIdentity(identity.pid);
  return now !== undefined && isSameProcess(now, identity);
}

async function isGoneWithin(
  clock: Clock,
  identity: ProcessIdentity,
  waitMs: number,
): Promise<boolean> {
  const endMs = clock.monotonicMs() + waitMs;
  while (isRunning(identity)) {
    const leftMs = endMs - clock.monotonicMs();
    if (leftMs <= 0) return false;
    await sleep(clock, Math.min(POLL_MS, leftMs));
  }
  return true;
}

/** Signals the group it leads, or the process alone if it leads none. */
function signalOrphan(identity: ProcessIdentity, name: GroupSignal): boolean {
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
  readonly parent: number;
  readonly group: number;
  readonly session: number;
  readonly startTicks: number;
}

/** Parses /proc/PID/stat. The second field, the name, may contain spaces and parentheses, so fields are counted from the last `)`. */
export function parseStat(text: string): (Stat & { readonly state: string }) | undefined {
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const [state, parent, group, session] = fields;
  const startTicks = Number(fields[19]);
  if (state === undefined || state === "" || !Number.isSafeInteger(startTicks)) return undefined;
  return {
    state,
    parent: Number(parent),
    group: Number(group),
    session: Number(session),
    startTicks,
  };
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
