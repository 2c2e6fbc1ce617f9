/**
 * Runs a command as PID 1 of a pid namespace with a /proc of its own, as a container's runtime does. For tests of inits, here
 * and in the apps; Linux, as root, with unshare(1) and mount(8).
 */
import { readdirSync, readFileSync } from "node:fs";

const SIGKILL = 9;
/** As a container gives it, and without most of what this process has. */
const PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** How PID 1 is started. `prepare` is a line of shell, run before in its namespaces; PID 1 takes that shell's place. */
export interface Pid1Options {
  readonly env?: Readonly<Record<string, string>>;
  readonly prepare?: string;
}

/** A process of the namespace. `pid` and `parent` are as they are outside; `state` is a letter of proc(5), Z for a zombie. */
export interface ProcessEntry {
  readonly pid: number;
  readonly parent: number;
  readonly state: string;
  readonly name: string;
}

/** Whether namespaces can be had: undefined, or what is missing. */
export function whyNoPid1(): string | undefined {
  if (process.getuid?.() !== 0) return "root";
  const { exitCode } = Bun.spawnSync(["unshare", "--pid", "--fork", "--mount-proc", "true"]);
  return exitCode === 0 ? undefined : "unshare(1) and the right to make namespaces";
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
    child.stdin.write("go\n");
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

function readProcesses(): readonly ProcessEntry[] {
  return readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const stat = readFileSync(`/proc/${name}/stat`, "latin1");
      const match = /^\d+ \((.*)\) (\w) (\d+) /s.exec(stat);
      return [
        { pid: Number(name), name: match![1]!, state: match![2]!, parent: Number(match![3]) },
      ];
    } catch {
      return []; // It has just gone.
    }
  });
}
