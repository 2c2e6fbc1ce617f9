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

/**
 * Processes that nobody minds any more: of our user, leading a session as all that a supervisor begins, handed to an init
 * (process 1 or an ancestor of ours) when whoever began them went. `matches` looks at their arguments. For what was begun
 * too shortly before a kill to be written down.
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

/** Empty when it is another user's, or gone. */
function argvOf(pid: number, uid: number | undefined): readonly string[] {
  try {
    // The owner of the files in /proc is root for a process that may not be dumped.
    const owner = /^Uid:\t(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    if (Number(owner) !== uid) return [];
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").slice(0, -1);
  } catch {
    return [];
  }
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
  readonly parent: number;
  readonly group: number;
  readonly session: number;
  readonly startTicks: number;
}

/** Fields of /proc/PID/stat. The second one, the name, may hold spaces and parentheses, so fields count from the last `)`. */
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
