/**
 * A Docker engine for the tests: Debian's dockerd in its own PID, mount and network namespaces. It is isolated from other
 * engines, from this machine's ports and from other machines, and leaves nothing behind even if the tests are killed.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type CommandOptions, type CommandResult, run, runOrThrow } from "./command.ts";

/** Files kept between runs, and the files of a running engine. Must be on a file system that supports overlays. */
export const CACHE = join(import.meta.dir, "../../node_modules/.cache/docker");
const RUNNING = "running-";
const LOG_BYTES_SHOWN = 2000;
const START_MS_MAX = 30_000;
const STOP_MS_MAX = 30_000;
const POLL_MS = 20;

/** Returns what a test waits for, or undefined or false until then. */
export type Check<T> = () => T | undefined | false | Promise<T | undefined | false>;

/** Polls until `check` returns a value. Throws with `what` if that takes too long. */
export async function until<T>(what: string, check: Check<T>, limitMs = START_MS_MAX): Promise<T> {
  const endMs = performance.now() + limitMs;
  for (;;) {
    const value = await check();
    if (value !== undefined && value !== false) return value;
    if (performance.now() > endMs) throw new Error(`timed out after ${limitMs} ms: ${what}`);
    await Bun.sleep(POLL_MS);
  }
}

type Guarded = Bun.Subprocess<"pipe", "pipe" | "ignore", "inherit" | "ignore">;

/** A running engine. */
export class Engine {
  /** A directory for files that containers mount. Removed with the engine. */
  readonly dir: string;
  /** Environment variables that make Docker clients use this engine. */
  readonly env: Readonly<Record<string, string>>;
  readonly #child: Guarded;
  readonly #name: string;
  readonly #relays: Guarded[] = [];
  #pid = 0;

  private constructor() {
    mkdirSync(CACHE, { recursive: true });
    this.#name = `fleet-test-${process.pid}`;
    this.dir = join(CACHE, `${RUNNING}${process.pid}`);
    mkdirSync(this.dir);
    const socket = `unix://${this.dir}/docker.sock`;
    this.env = { DOCKER_HOST: socket, DOCKER_CONFIG: join(this.dir, "client") };
    const namespaces = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"];
    const script = join(import.meta.dir, "engine.sh");
    this.#child = Bun.spawn(["unshare", ...namespaces, "sh", script, this.dir, this.#name], {
      cwd: "/",
      env: { ...process.env, ...this.env },
      stdio: ["pipe", "ignore", "ignore"],
      // Ctrl-C must not reach the engine, which ends when its stdin closes.
      detached: true,
    });
  }

  /** Starts an engine. Resolves when it is ready. */
  static async start(): Promise<Engine> {
    removeAbandoned();
    const engine = new Engine();
    try {
      await engine.#ready();
      return engine;
    } catch (error) {
      const log = engine.#log();
      await engine.stop();
      throw new Error(`dockerd did not start: ${log}`, { cause: error });
    }
  }

  /** Runs a Docker command and returns its stdout. Throws if it fails. */
  docker(...args: readonly string[]): Promise<string> {
    return runOrThrow(["docker", ...args], { env: this.env });
  }

  /** Runs a Docker command that may fail. */
  attempt(...args: readonly string[]): Promise<CommandResult> {
    return run(["docker", ...args], { env: this.env });
  }

  /** Runs a command of this machine in the engine's network, with access to the engine. */
  inside(command: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    const env = { ...this.env, ...options.env };
    return run(["nsenter", "--net", `--target=${this.#pid}`, "--", ...command], {
      ...options,
      env,
    });
  }

  /** Returns a Unix socket connected to `port` on the engine's loopback, for fetch's `unix` option. */
  async relay(port: number): Promise<string> {
    const socket = join(this.dir, `port-${port}`);
    if (existsSync(socket)) return socket;
    const command = [process.execPath, join(import.meta.dir, "relay.ts"), socket, `${port}`];
    const child = Bun.spawn(["nsenter", "--net", `--target=${this.#pid}`, "--", ...command], {
      cwd: "/",
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#relays.push(child);
    await until(`the relay to port ${port} listens`, () => {
      if (child.exitCode !== null) throw new Error(`the relay ended with ${child.exitCode}`);
      return existsSync(socket);
    });
    return socket;
  }

  /** Reads /proc/1/FILE of a running container. */
  async ofInit(container: string, file: string): Promise<string> {
    return this.#inProcesses(["cat", `/proc/${await this.#initOf(container)}/${file}`]);
  }

  /** Kills a container's first process. Unlike after `docker kill`, the container's restart policy applies. */
  async crash(container: string): Promise<void> {
    await this.#inProcesses(["sh", "-c", `kill -KILL ${await this.#initOf(container)}`]);
  }

  /** Returns the pid of a container's first process in the engine's PID namespace. */
  #initOf(container: string): Promise<string> {
    return this.docker("inspect", "--format={{.State.Pid}}", container);
  }

  #inProcesses(command: readonly string[]): Promise<string> {
    const namespaces = ["--mount", "--pid", `--target=${this.#pid}`];
    return runOrThrow(["nsenter", ...namespaces, "--", ...command]);
  }

  /** Stops the engine with all its containers, and removes its files. */
  async stop(): Promise<void> {
    for (const child of [...this.#relays, this.#child]) {
      void child.stdin.end();
      const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS_MAX);
      await child.exited;
      clearTimeout(timer);
    }
    rmSync(this.dir, { recursive: true, force: true });
    rmSync(`${this.dir}.log`, { force: true });
  }

  async #ready(): Promise<void> {
    await until("the engine responds", async () => {
      if (this.#child.exitCode !== null)
        throw new Error(`the engine ended with ${this.#child.exitCode}`);
      if (!existsSync(join(this.dir, "docker.sock"))) return false;
      return (await this.attempt("version")).code === 0;
    });
    const isOurs = (name: string): boolean =>
      /^\d+$/.test(name) && parentOf(name) === `${this.#child.pid}`;
    this.#pid = Number(readdirSync("/proc").find(isOurs));
  }

  #log(): string {
    const path = `${this.dir}.log`;
    return existsSync(path) ? readFileSync(path, "utf8").slice(-LOG_BYTES_SHOWN) : "";
  }
}

function parentOf(pid: string): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.replace(/^.*\) /s, "").split(" ")[1];
  } catch {
    return undefined; // The process has just ended.
  }
}

/** Removes the files of engines that were killed together with their tests. */
function removeAbandoned(): void {
  for (const name of readdirSync(CACHE)) {
    const pid = new RegExp(`^${RUNNING}(\\d+)`).exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`))
      rmSync(join(CACHE, name), { recursive: true, force: true });
  }
}
