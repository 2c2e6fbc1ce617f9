/**
 * A root file system for a test: a directory that is entered by chroot in its own mount namespace, as uid 65534 without any
 * privilege. Mounts end with the process that entered it; big files are bind-mounted, not copied.
 */
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";

export const NOBODY = 65_534;
/** The path of the agent in each root. */
export const AGENT = "/opt/fleet/fleet-agent";

const POLL_MS = 20;
const UNTIL_MS = 20_000;

/** A command of this machine, run as root in the new mount namespace; its paths are those outside. */
export type Step = readonly string[];

/** How to start a program in a root. */
export interface EnterOptions {
  /** The complete environment. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Commands to run just before the program starts, mostly mounts. */
  readonly steps?: readonly Step[];
  /** Default true. */
  readonly proc?: boolean;
}

/** A program in a root, and its output so far. */
export interface Run {
  /** The pid of the program itself. */
  readonly pid: number;
  out(): string;
  err(): string;
  /** Polls until `look` returns a value; fails with the output if the program ends first, or after a time limit. */
  until<T>(what: string, look: Look<T>): Promise<T>;
  /** The exit code, or 128 + n after signal n, once all output has been read. */
  exit(): Promise<number>;
  kill(signal: NodeJS.Signals): void;
}

/** What a root needs: `enter` is the compiled programs/enter.c, `emulator` runs its programs here. */
export interface RootTools {
  readonly enter: string;
  readonly emulator: string | undefined;
}

/** The awaited value; undefined while there is none. */
export type Look<T> = () => T | undefined | false | Promise<T | undefined | false>;

/** Polls until `look` returns a value; the error after a time limit names `what`. */
export async function until<T>(what: string, look: Look<T>): Promise<T> {
  const endMs = performance.now() + UNTIL_MS;
  for (;;) {
    const seen = await look();
    if (seen !== undefined && seen !== false) return seen;
    if (performance.now() > endMs) throw new Error(`not seen in ${UNTIL_MS} ms: ${what}`);
    await Bun.sleep(POLL_MS);
  }
}

export class Root {
  readonly dir: string;
  readonly #tools: RootTools;
  readonly #steps: Step[];
  readonly #runs: Run[] = [];

  /**
   * Creates `dir` with only /proc and the emulator in it, or with everything in the directory `from` of the same file system, by
   * hard links: to change a file of the root, replace it.
   */
  constructor(dir: string, tools: RootTools, from?: string) {
    this.dir = dir;
    this.#tools = tools;
    this.#steps = [["mount", "--bind", dir, dir]];
    if (from === undefined) mkdirSync(dir, { mode: 0o755 });
    else copyByLinks(from, dir);
    this.directory("/proc");
    if (tools.emulator !== undefined) this.bind("/emulator", tools.emulator);
  }

  /** The command that runs a program of this root: none, or the emulator. */
  get runner(): readonly string[] {
    return this.#tools.emulator === undefined ? [] : ["/emulator"];
  }

  /** A path of the root, as seen from outside. */
  at(inside: string): string {
    return join(this.dir, inside);
  }

  directory(inside: string, mode = 0o755, uid = 0): void {
    mkdirSync(this.at(inside), { recursive: true });
    chmodSync(this.at(inside), mode);
    chownSync(this.at(inside), uid, uid);
  }

  /** Creates a file, replacing an existing one. */
  file(inside: string, content: string | Uint8Array, mode = 0o644, uid = 0): void {
    this.#parent(inside);
    rmSync(this.at(inside), { force: true });
    writeFileSync(this.at(inside), content);
    chmodSync(this.at(inside), mode);
    chownSync(this.at(inside), uid, uid);
  }

  mode(inside: string, mode: number): void {
    chmodSync(this.at(inside), mode);
  }

  link(inside: string, target: string): void {
    this.#parent(inside);
    rmSync(this.at(inside), { force: true });
    symlinkSync(target, this.at(inside));
  }

  /** Copies a tree of the root by hard links. */
  copy(inside: string, from: string): void {
    copyByLinks(this.at(from), this.at(inside));
  }

  /** Removes a tree. */
  remove(inside: string): void {
    rmSync(this.at(inside), { recursive: true });
  }

  /** Creates a FIFO or a device by mknod. */
  node(inside: string, kind: readonly string[]): void {
    this.#parent(inside);
    runOrThrow(["mknod", "-m", "0777", this.at(inside), ...kind]);
  }

  /** Mounts a file of this machine into the root, from the next start of a program on. */
  bind(inside: string, outside: string): void {
    this.file(inside, "");
    this.#steps.push(["mount", "--bind", outside, this.at(inside)]);
  }

  /** The content of a file; "" without one. */
  read(inside: string): string {
    return existsSync(this.at(inside)) ? readFileSync(this.at(inside), "utf8") : "";
  }

  /** Every path below a directory of the root, relative to it, except mounts. */
  list(inside = "/"): readonly string[] {
    return readdirSync(this.at(inside), { recursive: true, encoding: "utf8" }).toSorted();
  }

  /** Starts a program of the root. It replaces the processes that enter the root, so its pid is the child's. */
  run(argv: readonly string[], options: EnterOptions = {}): Run {
    const { env = {}, cwd = "/", steps = [], proc = true } = options;
    const mountProc = ["mount", "-t", "proc", "proc", this.at("/proc")];
    const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
    const enter = [this.#tools.enter, this.dir, cwd, ...variables, "--", ...this.runner, ...argv];
    const all = [...this.#steps, ...(proc ? [mountProc] : []), ...steps, ["exec", ...enter]];
    const script = all.map((words) => words.map(quote).join(" ")).join("\n");
    const child = Bun.spawn(
      ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script],
      {
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
    let out = "";
    let err = "";
    const outputs = [
      follow(child.stdout, (text) => void (out += text)),
      follow(child.stderr, (text) => void (err += text)),
    ];
    const run: Run = {
      pid: child.pid,
      out: () => out,
      err: () => err,
      async until(what, look) {
        const lookOrFail = () => {
          if (child.exitCode === null && child.signalCode === null) return look();
          throw new Error(`ended with ${child.exitCode ?? child.signalCode}`);
        };
        try {
          return await until(what, lookOrFail);
        } catch (error) {
          throw new Error(`${what}: ${String(error)}; it printed:\n${out}${err}`, { cause: error });
        }
      },
      async exit() {
        const code = await child.exited;
        await Promise.all(outputs);
        return code;
      },
      kill: (signal) => child.kill(signal),
    };
    this.#runs.push(run);
    return run;
  }

  /** The agent's own command line. */
  agent(args: readonly string[], options: EnterOptions = {}): Run {
    return this.run([AGENT, ...args], options);
  }

  /** The processes in this root. */
  processes(): readonly number[] {
    return readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name) && this.#isRootOf(name))
      .map(Number);
  }

  /** Kills every process in the root and removes it. */
  async close(): Promise<void> {
    for (const pid of this.processes()) process.kill(pid, "SIGKILL");
    await Promise.all(this.#runs.map((run) => run.exit()));
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** Compares the directory itself, because its path in another mount namespace is meaningless here. */
  #isRootOf(pid: string): boolean {
    try {
      const [theirs, ours] = [statSync(`/proc/${pid}/root/`), statSync(this.dir)];
      return theirs.dev === ours.dev && theirs.ino === ours.ino;
    } catch {
      return false; // The process has just ended.
    }
  }

  #parent(inside: string): void {
    mkdirSync(dirname(this.at(inside)), { recursive: true, mode: 0o755 });
  }
}

function copyByLinks(from: string, to: string): void {
  runOrThrow(["cp", "-al", from, to]);
}

function runOrThrow(command: string[]): void {
  const { success, stderr } = Bun.spawnSync(command, { stdio: ["ignore", "ignore", "pipe"] });
  if (!success) throw new Error(`${command.join(" ")}: ${stderr.toString()}`);
}

function quote(word: string): string {
  return /^[\w./:=,-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

async function follow(
  stream: ReadableStream<Uint8Array>,
  onText: (text: string) => void,
): Promise<void> {
  const decoder = new TextDecoder();
  for await (const chunk of stream) onText(decoder.decode(chunk, { stream: true }));
}
