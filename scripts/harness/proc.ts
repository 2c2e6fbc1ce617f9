/** Other processes, as /proc shows them. Elsewhere than on Linux there are none to be seen. */
import { readdirSync, readFileSync } from "node:fs";

/** A process for ever: a pid is reused, with the time of its start it is not. */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startTicks: string;
}

/** `npx … run demo`, `bun run demo`, and a shell between them. */
const LAUNCHER = /\b(bun|npm|npx)\b.*\brun\S* demo\b/;
/** What is killed may have been about to start another. */
const KILL_ROUNDS_MAX = 5;

/** Whether it still runs. */
export function isThere({ pid, startTicks }: ProcessIdentity): boolean {
  return readStat(pid)?.startTicks === startTicks;
}

/** Those ancestors of ours that exist only to run us, nearest first. */
export function launchers(): readonly ProcessIdentity[] {
  const found: ProcessIdentity[] = [];
  for (let pid = process.ppid; pid > 1;) {
    const stat = readStat(pid);
    if (stat === undefined || !LAUNCHER.test(read(pid, "cmdline").replaceAll("\0", " "))) break;
    found.push({ pid, startTicks: stat.startTicks });
    pid = stat.parent;
  }
  return found;
}

/** Processes that have the variable `mark` (`NAME=value`) in their environment, whoever started them. */
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

/** KILL for all of `marked`, until there are none. */
export function killMarked(mark: string): void {
  for (let round = 0; round < KILL_ROUNDS_MAX; round++) {
    const pids = marked(mark);
    if (pids.length === 0) return;
    for (const pid of pids)
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It went by itself.
      }
  }
}

/** Fields of /proc/PID/stat; the second, the name, may hold blanks and parentheses. Zombies are gone already. */
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
