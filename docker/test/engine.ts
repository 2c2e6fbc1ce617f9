/**
 * A Docker engine of the tests' own: Debian's dockerd in namespaces for its processes, mounts and network, so that it meets no
 * other engine, no port of this machine and no other machine, and whatever happens to the tests nothing of it is left.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type CommandOptions, type Ended, run, runOrThrow } from "./command.ts";

/** What is kept between runs, and the engine's own files while it runs: on a file system that overlays can lie on. */
export const CACHE = join(import.meta.dir, "../../node_modules/.cache/docker");
const RUNNING = "running-";
const LOG_BYTES_SHOWN = 2000;
const START_MS_MAX = 30_000;
const STOP_MS_MAX = 30_000;
const POLL_MS = 20;

/** What is awaited, or nothing yet. */
export type Look<T> = () => T | undefined | false | Promise<T | undefined | false>;

/** Polls until `look` gives something; fails saying `what` was awaited. */
export async function until<T>(what: string, look: Look<T>, limitMs = START_MS_MAX): Promise<T> {
  const endMs = performance.now() + limitMs;
  for (;;) {
    const seen = await look();
    if (seen !== undefined && seen !== false) return seen;
    if (performance.now() > endMs) throw new Error(`not seen in ${limitMs} ms: ${what}`);
    await Bun.sleep(POLL_MS);
  }
}

type Guarded = Bun.Subprocess<"pipe", "pipe" | "ignore", "inherit" | "ignore">;

export class Engine {
  /** For files that containers see; goes with the engine. */
  readonly dir: string;
  /** What a client needs to find it. */
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
      // A Ctrl-C is for us: the engine ends with its stdin.
      detached: true,
    });
  }

  /** Starts it; ready when this resolves. */
  static async start(): Promise<Engine> {
    removeAbandoned();
    const engine = new Engine();
    try {
      await engine.#ready();
      return engine;
    } catch (error) {
      const log = engine.#log();
      await engine.stop();
      throw new Error(`dockerd does not start: ${log}`, { cause: error });
    }
  }

  /** Runs a Docker command. Throws unless it ends well; gives its stdout. */
  docker(...args: readonly string[]): Promise<string> {
    return runOrThrow(["docker", ...args], { env: this.env });
  }

  /** As `docker`, for commands that may fail. */
  attempt(...args: readonly string[]): Promise<Ended> {
    return run(["docker", ...args], { env: this.env });
  }

  /** Runs a command of this machine that sees the engine's network and speaks to the engine. */
  inside(command: readonly string[], options: CommandOptions = {}): Promise<Ended> {
    const env = { ...this.env, ...options.env };
    return run(["nsenter", "--net", `--target=${this.#pid}`, "--", ...command], {
      ...options,
      env,
    });
  }

  /** A Unix socket by which `port` of the engine's loopback is reached: for fetch's `unix`. */
  async relay(port: number): Promise<string> {
    const socket = join(this.dir, `port-${port}`);
    if (existsSync(socket)) return socket;
    const command = [process.execPath, join(import.meta.dir, "relay.ts"), socket, `${port}`];
    const child = Bun.spawn(["nsenter", "--net", `--target=${this.#pid}`, "--", ...command], {
      cwd: "/",
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#relays.push(child);
    await until(`the relay to port ${port}`, () => {
      if (child.exitCode !== null) throw new Error(`the relay ended with ${child.exitCode}`);
      return existsSync(socket);
    });
    return socket;
  }

  /** What /proc/1/FILE says in a container that runs. */
  async ofInit(container: string, file: string): Promise<string> {
    return this.#amongProcesses(["cat", `/proc/${await this.#initOf(container)}/${file}`]);
  }

  /** Ends a container's first process, unlike `docker kill` as if by itself: its restart policy holds. */
  async crash(container: string): Promise<void> {
    await this.#amongProcesses(["sh", "-c", `kill -KILL ${await this.#initOf(container)}`]);
  }

  /** Its process id among the engine's processes. */
  #initOf(container: string): Promise<string> {
    return this.docker("inspect", "--format={{.State.Pid}}", container);
  }

  #amongProcesses(command: readonly string[]): Promise<string> {
    const namespaces = ["--mount", "--pid", `--target=${this.#pid}`];
    return runOrThrow(["nsenter", ...namespaces, "--", ...command]);
  }

  /** Ends it with all its containers, and removes its files. */
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
    await until("the engine answers", async () => {
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
    return undefined; // It has just gone.
  }
}

/** Of engines that were killed together with their tests. */
function removeAbandoned(): void {
  for (const name of readdirSync(CACHE)) {
    const pid = new RegExp(`^${RUNNING}(\\d+)`).exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`))
      rmSync(join(CACHE, name), { recursive: true, force: true });
  }
}
