/** Runs the built agent's `install`, lets a test act at chosen points of it, and examines the result. (A2) */
import {
  accessSync,
  constants,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** The static file under test. */
export const AGENT = join(import.meta.dir, "../../../dist/fleet-agent");

/** The end of a run. */
export interface Ended {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
}

const KILL_TRIES_MAX = 20;

type Child = Bun.Subprocess<"ignore", "pipe", "pipe">;

const sha256Of = (path: string): string =>
  new Bun.CryptoHasher("sha256").update(readFileSync(path)).digest("hex");

/** Facts about the agent's file. */
export const PROGRAM = { bytes: statSync(AGENT).size, sha256: sha256Of(AGENT) } as const;

/** A directory to install into. */
export class Volume {
  readonly dir = mkdtempSync(join(tmpdir(), "fleet-volume-"));
  readonly target = join(this.dir, "fleet-agent");
  readonly #children: Child[] = [];

  /** Runs a command with a minimal environment. */
  spawn(command: readonly string[]): Child {
    const child = Bun.spawn([...command], {
      cwd: "/",
      env: {},
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#children.push(child);
    return child;
  }

  install(...args: readonly string[]): Child {
    return this.spawn([AGENT, "install", this.dir, ...args]);
  }

  /** Starts an install and returns it once `isNow` holds, or once it has ended. Polls, because the moments are short. */
  async installUntil(isNow: (child: Child) => boolean): Promise<Child> {
    const child = this.install();
    while (child.exitCode === null && !isNow(child))
      await new Promise((resolve) => setImmediate(resolve));
    return child;
  }

  /** Starts an install and stops it (SIGSTOP) while it copies. */
  async installHalf(): Promise<Child> {
    for (;;) {
      const child = await this.installUntil(() => this.stagedBytes() > 0);
      child.kill("SIGSTOP");
      while (child.exitCode === null && stateOf(child.pid) !== "T")
        await new Promise((resolve) => setImmediate(resolve));
      if (this.stagedBytes() > 0 && this.stagedBytes() < PROGRAM.bytes) return child;
      // It ended before it could be stopped.
      child.kill("SIGCONT");
      await child.exited;
      rmSync(this.target);
    }
  }

  /** Kills an install at a given moment. If the moment was missed, runs it again after `prepare`. */
  async killed(isNow: (pid: number) => boolean, prepare: () => void): Promise<Child> {
    for (let tries = 1; ; tries++) {
      rmSync(this.target, { force: true });
      prepare();
      const child = await this.installUntil(({ pid }) => isNow(pid));
      child.kill("SIGKILL");
      await child.exited;
      if (child.signalCode === "SIGKILL" || tries >= KILL_TRIES_MAX) return child;
    }
  }

  /** Size of the target; -1 without one. */
  targetBytes(): number {
    return statSync(this.target, { throwIfNoEntry: false })?.size ?? -1;
  }

  /** Names of temporary files, in use or left behind. */
  staged(): readonly string[] {
    return readdirSync(this.dir).filter((name) => name.endsWith(".tmp"));
  }

  /** Size of the largest temporary file; -1 without one. */
  stagedBytes(): number {
    return Math.max(
      -1,
      ...this.staged().map(
        (name) => statSync(join(this.dir, name), { throwIfNoEntry: false })?.size ?? -1,
      ),
    );
  }

  put(text: string): void {
    writeFileSync(this.target, text, { mode: 0o755 });
  }

  /** What a reader of the target finds: nothing, the whole executable program, or else its text. */
  found(): string {
    if (!readdirSync(this.dir).includes("fleet-agent")) return "nothing";
    accessSync(this.target, constants.X_OK);
    if (statSync(this.target).size < 1000) return readFileSync(this.target, "utf8");
    return sha256Of(this.target) === PROGRAM.sha256 ? "the program" : "something else";
  }

  files(): readonly string[] {
    return readdirSync(this.dir);
  }

  async close(): Promise<void> {
    for (const child of this.#children) {
      child.kill("SIGKILL");
      await child.exited;
    }
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Waits for the end. */
export async function ended(child: Child): Promise<Ended> {
  const [stdout, stderr, exit] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.exited,
  ]);
  return { exit, stdout, stderr };
}

/** Whether the process has a child. */
export function hasChild(pid: number): boolean {
  return readdirSync("/proc").some((name) => /^\d+$/.test(name) && statOf(name)?.[1] === `${pid}`);
}

function stateOf(pid: number): string | undefined {
  return statOf(`${pid}`)?.[0];
}

/** The fields of /proc/PID/stat from the state on. */
function statOf(pid: string): readonly string[] | undefined {
  try {
    return readFileSync(`/proc/${pid}/stat`, "utf8")
      .replace(/^.*\) /s, "")
      .split(" ");
  } catch {
    return undefined;
  }
}
