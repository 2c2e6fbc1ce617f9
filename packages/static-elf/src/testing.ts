/**
 * Runs a command as PID 1 of a pid namespace with a /proc of its own, as a container's runtime does. For tests of inits, here
 * and in the apps; Linux, as root, with unshare(1) and mount(8).
 */
import { readdirSync, readFileSync } from "node:fs";
import { missingInits } from "./inits.ts";

export { type Init, INITS } from "./inits.ts";

const SIGKILL = 9;
/** As a container gives it, and without most of what this process has. */
const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** How PID 1 is started. `prepare` is a line of shell, run before in its namespaces; PID 1 takes that shell's place. */
export interface Pid1Options {
  readonly env?: Readonly<Record<string, string>>;
  readonly prepare?: string;
}

/** A process of the namespace, as proc(5) has it outside. `state` is Z for a zombie; `startTicks` are of the clock since boot. */
export interface ProcessEntry {
  readonly pid: number;
  readonly parent: number;
  readonly state: string;
  readonly name: string;
  readonly startTicks: number;
}

/** Whether namespaces can be had: undefined, or what is missing. */
export function whyNoPid1(): string | undefined {
  if (process.getuid?.() !== 0) return "root";
  const { exitCode } = Bun.spawnSync(["unshare", "--pid", "--fork", "--mount-proc", "true"]);
  return exitCode === 0 ? undefined : "unshare(1) and the right to make namespaces";
}

/** The same, for tests that compare inits. */
export function whyNoInits(): string | undefined {
  const missing = [whyNoPid1(), missingInits()].filter((what) => what !== undefined);
  return missing.length === 0 ? undefined : missing.join("; ");
}

/** A running PID 1. Its namespace and all that is in it ends with it, and it with this object. */
export class Pid1 implements AsyncDisposable {
  /** As seen from outside. */
  readonly pid: number;
  readonly #child: Bun.Subprocess<"pipe", "pipe", "pipe">;
  readonly #lines: AsyncGenerator<string, void>;
  readonly #err: Promise<string>;

  private constructor(
    child: Bun.Subprocess<"pipe", "pipe", "pipe">,
    lines: AsyncGenerator<string, void>,
    err: Promise<string>,
  ) {
    this.#child = child;
    this.#lines = lines;
    this.#err = err;
    const children = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8");
    this.pid = Number(children.trim());
  }

  static async start(command: readonly string[], options: Pid1Options = {}): Promise<Pid1> {
    const { env = {}, prepare = ":" } = options;
    // Tells that the namespaces are there, and waits to be known.
    const script = `echo; read -r go; exec </dev/null; ${prepare} && exec "$@"`;
    const child = Bun.spawn([...UNSHARE, "sh", "-c", script, "sh", ...command], {
      env: { PATH, ...env },
      stdio: ["pipe", "pipe", "pipe"],
    });
    const lines = linesOf(child.stdout);
    const err = child.stderr.text();
    const { done } = await lines.next();
    if (done) throw new Error(`no namespaces: ${await err}`);
    const pid1 = new Pid1(child, lines, err);
    await child.stdin.write("go\n");
    await child.stdin.end();
    return pid1;
  }

  /** The next line of its output. Throws what it had to say when it has ended instead. */
  async line(): Promise<string> {
    const { value } = await this.#lines.next();
    if (value === undefined) throw new Error(`ended with ${await this.exited}: ${await this.err}`);
    return value;
  }

  /** All lines that have not been taken, once it has ended. */
  rest(): Promise<string[]> {
    return Array.fromAsync(this.#lines);
  }

  /** All it wrote to stderr, once it has ended. */
  get err(): Promise<string> {
    return this.#err;
  }

  /** Its exit code, or 128 + n after signal n. */
  get exited(): Promise<number> {
    return this.#child.exited;
  }

  /** From outside, as a runtime does. False when it has ended already. */
  kill(signal: number, pid = this.pid): boolean {
    try {
      return process.kill(pid, signal);
    } catch {
      return false;
    }
  }

  /** Every other process of the namespace, zombies too. */
  processes(): readonly ProcessEntry[] {
    const inside = [this.pid];
    const all = readProcesses();
    for (let i = 0; i < inside.length; i++)
      inside.push(...all.filter(({ parent }) => parent === inside[i]).map(({ pid }) => pid));
    return all.filter(({ pid }) => pid !== this.pid && inside.includes(pid));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // PID 1 itself: who becomes another user outlives its parent. The pid is no other's until that has been waited for.
    if (this.#child.exitCode === null) this.kill(SIGKILL);
    await this.#child.exited;
  }
}

/** Begins a pid namespace: the command that follows is its PID 1. */
export const UNSHARE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"] as const;

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string, void> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop()!;
    yield* lines;
  }
  if (rest !== "") yield rest;
}

/** Whether that process, and no later one of its pid, is still there. */
export function isAlive({ pid, startTicks }: ProcessEntry): boolean {
  return readProcess(pid)?.startTicks === startTicks;
}

function readProcesses(): readonly ProcessEntry[] {
  return readdirSync("/proc").flatMap((name) =>
    /^\d+$/.test(name) ? (readProcess(Number(name)) ?? []) : [],
  );
}

function readProcess(pid: number): ProcessEntry | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    const nameEnd = stat.lastIndexOf(")");
    // From the third on: state, parent, …; the start is the 22nd. The name before may hold anything.
    const fields = stat.slice(nameEnd + 2).split(" ");
    return {
      pid,
      name: stat.slice(stat.indexOf("(") + 1, nameEnd),
      state: fields[0]!,
      parent: Number(fields[1]),
      startTicks: Number(fields[19]),
    };
  } catch {
    return undefined; // It has just gone.
  }
}
