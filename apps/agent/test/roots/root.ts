/**
 * A root file system of a test: a directory, entered with chroot in a mount namespace of its own, as uid 65534 without any
 * privilege. Mounts end with the process that entered; big files are bind-mounted, not copied.
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
/** Where the agent lies in each root, by convention. */
export const AGENT = "/opt/fleet/fleet-agent";

const POLL_MS = 20;
const UNTIL_MS = 20_000;

/** A command of this machine, run as root in the new mount namespace; paths are those outside. */
export type Step = readonly string[];

/** How a program is started in a root. */
export interface EnterOptions {
  /** The whole environment. */
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** What is done last, before the program is entered: mounts, mostly. */
  readonly steps?: readonly Step[];
  /** Default true. */
  readonly proc?: boolean;
}

/** A program in a root, with what it has printed so far. */
export interface Run {
  /** Of the program itself. */
  readonly pid: number;
  out(): string;
  err(): string;
  /** Polls until `look` gives something; fails with what was printed when the program ends before, or it takes too long. */
  until<T>(what: string, look: Look<T>): Promise<T>;
  /** Its code, or 128 + n after signal n, once all its output is here. */
  exit(): Promise<number>;
  kill(signal: NodeJS.Signals): void;
}

/** What a root is made with: `enter` is the compiled programs/enter.c, `emulator` what its programs need to run here. */
export interface RootTools {
  readonly enter: string;
  readonly emulator: string | undefined;
}

/** What is awaited, or nothing yet. */
export type Look<T> = () => T | undefined | false | Promise<T | undefined | false>;

/** Polls until `look` gives something; fails saying `what` was awaited. */
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
   * Makes `dir`, with /proc and the emulator in it and otherwise nothing, or all that is in the directory `from` of the same
   * file system, by hard links: whoever changes a file of the root must put another in its place.
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

  /** What runs a program of this root: nothing, or the emulator. */
  get runner(): readonly string[] {
    return this.#tools.emulator === undefined ? [] : ["/emulator"];
  }

  /** A path of the root, seen from outside. */
  at(inside: string): string {
    return join(this.dir, inside);
  }

  directory(inside: string, mode = 0o755, uid = 0): void {
    mkdirSync(this.at(inside), { recursive: true });
    chmodSync(this.at(inside), mode);
    chownSync(this.at(inside), uid, uid);
  }

  /** Puts a new file there, also where one was. */
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

  /** All that is at a path of the root once more, by hard links. */
  copy(inside: string, from: string): void {
    copyByLinks(this.at(from), this.at(inside));
  }

  /** Takes away all that is at a path. */
  remove(inside: string): void {
    rmSync(this.at(inside), { recursive: true });
  }

  /** A FIFO or a device, as mknod makes it. */
  node(inside: string, kind: readonly string[]): void {
    this.#parent(inside);
    runOrThrow(["mknod", "-m", "0777", this.at(inside), ...kind]);
  }

  /** Shows a file of this machine in the root, from the next entry on. */
  bind(inside: string, outside: string): void {
    this.file(inside, "");
    this.#steps.push(["mount", "--bind", outside, this.at(inside)]);
  }

  /** What a file holds; "" while there is none. */
  read(inside: string): string {
    return existsSync(this.at(inside)) ? readFileSync(this.at(inside), "utf8") : "";
  }

  /** Every path below a directory of the root, relative to it, apart from what is mounted. */
  list(inside = "/"): readonly string[] {
    return readdirSync(this.at(inside), { recursive: true, encoding: "utf8" }).toSorted();
  }

  /** Starts a program of the root, in place of the processes that enter it: its pid is the one we get. */
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

  /** Processes whose root this is. */
  processes(): readonly number[] {
    return readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name) && this.#isRootOf(name))
      .map(Number);
  }

  /** Ends whatever still runs in it, hard, and removes it. */
  async close(): Promise<void> {
    for (const pid of this.processes()) process.kill(pid, "SIGKILL");
    await Promise.all(this.#runs.map((run) => run.exit()));
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** By the directory itself: in another mount namespace it has no name that means anything here. */
  #isRootOf(pid: string): boolean {
    try {
      const [theirs, ours] = [statSync(`/proc/${pid}/root/`), statSync(this.dir)];
      return theirs.dev === ours.dev && theirs.ino === ours.ino;
    } catch {
      return false; // The process has just gone.
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
