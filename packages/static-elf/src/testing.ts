/**
 * Runs a command as PID 1 of a pid namespace with its own /proc, like a container runtime. For tests of inits, here and in the
 * apps. Requires Linux, root, unshare(1) and mount(8).
 */
import { readdirSync, readFileSync } from "node:fs";
import { missingInits } from "./inits.ts";

export { type Init, INITS } from "./inits.ts";

const SIGKILL = 9;
/** The default PATH of containers. */
const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** `prepare` is a line of shell that runs in the namespaces first; PID 1 then replaces that shell. */
export interface Pid1Options {
  readonly env?: Readonly<Record<string, string>>;
  readonly prepare?: string;
}

/** A process of the namespace as seen from outside, see proc(5). `state` is Z for a zombie; `startTicks` are clock ticks since boot. */
export interface ProcessEntry {
  readonly pid: number;
  readonly parent: number;
  readonly state: string;
  readonly name: string;
  readonly startTicks: number;
}

/** What is missing to create pid namespaces; undefined when nothing is. */
export function missingForPid1(): string | undefined {
  if (process.getuid?.() !== 0) return "root";
  const { exitCode } = Bun.spawnSync(["unshare", "--pid", "--fork", "--mount-proc", "true"]);
  return exitCode === 0 ? undefined : "unshare(1) and the permission to create namespaces";
}

/** What is missing for tests that compare inits; undefined when nothing is. */
export function missingForInits(): string | undefined {
  const missing = [missingForPid1(), missingInits()].filter((name) => name !== undefined);
  return missing.length === 0 ? undefined : missing.join("; ");
}

/** A running PID 1. It ends when this object is disposed, and all processes of its namespace end with it. */
export class Pid1 implements AsyncDisposable {
  /** The pid as seen from outside. */
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
    // Reports that the namespaces exist, and waits until its pid has been read.
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

  /** The next line of its output. Throws with its stderr if it has exited. */
  async line(): Promise<string> {
    const { value } = await this.#lines.next();
    if (value === undefined) throw new Error(`ended with ${await this.exited}: ${await this.err}`);
    return value;
  }

  /** The remaining lines of its output, once it has exited. */
  rest(): Promise<string[]> {
    return Array.fromAsync(this.#lines);
  }

  /** Everything it wrote to stderr, once it has exited. */
  get err(): Promise<string> {
    return this.#err;
  }

  /** Resolves to its exit code, or 128 + n after signal n. */
  get exited(): Promise<number> {
    return this.#child.exited;
  }

  /** Sends a signal from outside, like a runtime. False when the process has already exited. */
  kill(signal: number, pid = this.pid): boolean {
    try {
      return process.kill(pid, signal);
    } catch {
      return false;
    }
  }

  /** All other processes of the namespace, including zombies. */
  processes(): readonly ProcessEntry[] {
    const inside = [this.pid];
    const all = readProcesses();
    for (let i = 0; i < inside.length; i++)
      inside.push(...all.filter(({ parent }) => parent === inside[i]).map(({ pid }) => pid));
    return all.filter(({ pid }) => pid !== this.pid && inside.includes(pid));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // PID 1 itself must be killed, because a process that changed its user outlives its parent. Its pid cannot be reused before
    // it is reaped.
    if (this.#child.exitCode === null) this.kill(SIGKILL);
    await this.#child.exited;
  }
}

/** Creates a pid namespace in which the command that follows is PID 1. */
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

/** Whether that process, and not a later one with its pid, still exists. */
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
    // The fields after the name, which may contain anything: state (3), parent (4), …, start time (22).
    const fields = stat.slice(nameEnd + 2).split(" ");
    return {
      pid,
      name: stat.slice(stat.indexOf("(") + 1, nameEnd),
      state: fields[0]!,
      parent: Number(fields[1]),
      startTicks: Number(fields[19]),
    };
  } catch {
    return undefined; // It has exited.
  }
}
