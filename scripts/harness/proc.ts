/** Reads other processes from /proc. On systems without /proc it finds none. */
import { readdirSync, readFileSync } from "node:fs";

/** Identifies a process permanently. A pid can be reused, but not together with its start time. */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startTicks: string;
}

/** A process may start another just before it is killed. */
const KILL_ROUNDS_MAX = 5;

/** Reports whether the process still runs. */
export function isRunning({ pid, startTicks }: ProcessIdentity): boolean {
  return readStat(pid)?.startTicks === startTicks;
}

/**
 * Returns the ancestors of this process that only exist to run it, nearest first: `npx … run SCRIPT`, `bun run SCRIPT`, and a
 * shell between them.
 */
export function launchersOf(script: string): readonly ProcessIdentity[] {
  const launcher = new RegExp(`\\b(bun|npm|npx)\\b.*\\brun\\S* ${script}\\b`);
  const found: ProcessIdentity[] = [];
  for (let pid = process.ppid; pid > 1;) {
    const stat = readStat(pid);
    if (stat === undefined || !launcher.test(read(pid, "cmdline").replaceAll("\0", " "))) break;
    found.push({ pid, startTicks: stat.startTicks });
    pid = stat.parent;
  }
  return found;
}

/** Returns the pids of all processes that have `mark` (`NAME=value`) in their environment, no matter what started them. */
export function marked(mark: string): readonly number[] {
  let names: string[];
  try {
    names = readdirSync("/proc");
  } catch {
    return [];
  }
  return names
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => pid !== process.pid && read(pid, "environ").split("\0").includes(mark));
}

/** Sends SIGKILL to all `marked` processes until none is left. */
export function killMarked(mark: string): void {
  for (let round = 0; round < KILL_ROUNDS_MAX; round++) {
    const pids = marked(mark);
    if (pids.length === 0) return;
    for (const pid of pids)
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It has already ended.
      }
  }
}

/**
 * Reads /proc/PID/stat. The second field, the name, may hold spaces and parentheses. Returns undefined for a zombie, which has
 * already ended.
 */
function readStat(
  pid: number,
): { readonly parent: number; readonly startTicks: string } | undefined {
  const text = read(pid, "stat");
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  if (text === "" || fields[0] === "Z" || fields[0] === "X") return undefined;
  return { parent: Number(fields[1]), startTicks: fields[19] ?? "" };
}

function read(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    return "";
  }
}
