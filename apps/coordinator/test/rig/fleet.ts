/**
 * Runs the built binaries as a user would: a coordinator and agents as processes on loopback, in a temporary directory. `close`
 * stops everything a test has started.
 */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ApiClient } from "@fleet/api-client";
import {
  nodesApi,
  type NodeView,
  trackersApi,
  type TrackerView,
  type TrackList,
} from "@fleet/protocol";

const DIST = join(import.meta.dir, "../../../../dist");
const UNTIL_MS = 20_000;
const POLL_MS = 20;
const STOP_MS = 12_000;

export const ENROLL_TOKEN = "enroll-token-of-the-tests";
export const OPERATOR_TOKEN = "operator-token-of-the-tests";
export const PUSH_TOKEN = "push-token-of-the-tests";

type Json = Record<string, unknown>;
type Proc = Bun.Subprocess<"ignore", "pipe", "pipe">;

/** A started binary and its output so far. */
export interface Run {
  readonly name: string;
  readonly process: Proc;
  readonly pid: number;
  /** The lines of stderr. */
  readonly log: string[];
  /** Returns stdout. */
  readonly out: () => string;
  exit(): Promise<number>;
  kill(signal: NodeJS.Signals): void;
}

/** The coordinator's ports. */
export interface Ports {
  readonly http: number;
  readonly frames: number;
}

/** Returns the command of a tracker that appends its input to `file`, which may contain `{stream}`. */
export function recordingTracker(file: string): readonly string[] {
  return [process.execPath, join(import.meta.dir, "recording-tracker.ts"), "{port}", file];
}

/** Polls until `check` returns a value. Throws with `what` after `limitMs`. */
export async function until<T>(
  what: string,
  check: () => T | undefined | false | Promise<T | undefined | false>,
  limitMs: number = UNTIL_MS,
): Promise<T> {
  const endMs = performance.now() + limitMs;
  for (;;) {
    const value = await check();
    if (value !== undefined && value !== false) return value;
    if (performance.now() > endMs) throw new Error(`timed out after ${limitMs} ms: ${what}`);
    await Bun.sleep(POLL_MS);
  }
}

/** Everything that one test runs. */
export class Fleet {
  readonly dir = mkdtempSync(join(tmpdir(), "fleet-e2e-"));
  readonly #runs: Run[] = [];
  ports: Ports = { http: 0, frames: 0 };

  /** Starts `dist/NAME` with PATH, HOME and `env` as its environment. `by` is a command to run it with. */
  spawn(
    name: string,
    args: readonly string[],
    env: Record<string, string> = {},
    by: readonly string[] = [],
  ): Run {
    const child = Bun.spawn([...by, join(DIST, name), ...args], {
      cwd: this.dir,
      env: { PATH: process.env["PATH"] ?? "", HOME: this.dir, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const log: string[] = [];
    let out = "";
    void follow(child.stderr, (text) => {
      log.push(...text.split("\n").filter((line) => line !== ""));
    });
    void follow(child.stdout, (text) => {
      out += text;
    });
    const run: Run = {
      name,
      process: child,
      pid: child.pid,
      log,
      out: () => out,
      exit: () => child.exited,
      kill: (signal) => child.kill(signal),
    };
    this.#runs.push(run);
    return run;
  }

  /** Starts a coordinator and waits until it is ready. It uses the ports of the previous one, if any. */
  async coordinator(
    config: Json = {},
    env: Record<string, string> = {},
    by: readonly string[] = [],
    flags: readonly string[] = [],
  ): Promise<Run> {
    const path = this.write("coordinator.yaml", JSON.stringify(withPortRange(config)));
    const http = `127.0.0.1:${this.ports.http}`;
    const frames = `127.0.0.1:${this.ports.frames}`;
    const data = join(this.dir, "data");
    const run = this.spawn(
      "fleet-coordinator",
      ["serve", "--config", path, "--data-dir", data, "--http", http, "--frames", frames, ...flags],
      {
        FLEET_ENROLL_TOKEN: ENROLL_TOKEN,
        FLEET_OPERATOR_TOKEN: OPERATOR_TOKEN,
        FLEET_PUSH_TOKEN: PUSH_TOKEN,
        ...env,
      },
      by,
    );
    const ready = await until("the coordinator is ready", () => {
      if (run.process.exitCode !== null)
        throw new Error(
          `the coordinator ended with ${run.process.exitCode}: ${run.log.join("\n")}`,
        );
      return run.log.find((line) => line.includes('"msg":"ready"'));
    });
    const ports = JSON.parse(ready) as { http_port: number; frames_port: number };
    this.ports = { http: ports.http_port, frames: ports.frames_port };
    return run;
  }

  /** Starts an agent. Its state directory is kept for the next agent of this name. */
  agent(name: string, config: Json, env: Record<string, string> = {}): Run {
    const path = this.write(`${name}.yaml`, JSON.stringify(config));
    const state = join(this.dir, `state-${name}`);
    return this.spawn("fleet-agent", ["--config", path, "--state-dir", state], {
      FLEET_COORDINATOR_URL: `http://127.0.0.1:${this.ports.http}`,
      FLEET_ENROLL_TOKEN: ENROLL_TOKEN,
      ...env,
    });
  }

  write(name: string, text: string, mode = 0o600): string {
    const path = join(this.dir, name);
    mkdirSync(join(path, ".."), { recursive: true });
    writeFileSync(path, text);
    chmodSync(path, mode);
    return path;
  }

  /** Reads a file; returns "" while it does not exist. */
  read(name: string): string {
    const path = join(this.dir, name);
    return existsSync(path) ? readFileSync(path, "utf8") : "";
  }

  /** The API as an operator. */
  get api(): ApiClient {
    return new ApiClient({ url: `http://127.0.0.1:${this.ports.http}`, token: OPERATOR_TOKEN });
  }

  async nodes(): Promise<readonly NodeView[]> {
    return (await this.api.call(nodesApi.list, {})).agents;
  }

  /** Returns the node; undefined if it is not known or the coordinator does not respond. */
  async node(id: string): Promise<NodeView | undefined> {
    const reply = await this.api.attempt(nodesApi.get, { params: { id } });
    return reply.at === "ok" ? reply.body : undefined;
  }

  async tracker(stream: string): Promise<TrackerView | undefined> {
    const reply = await this.api.attempt(trackersApi.get, { params: { stream } });
    return reply.at === "ok" ? reply.body : undefined;
  }

  async tracks(stream: string): Promise<TrackList["tracks"]> {
    const reply = await this.api.attempt(trackersApi.tracks, { params: { stream } });
    return reply.at === "ok" ? reply.body.tracks : [];
  }

  untilState(id: string, state: NodeView["state"]): Promise<NodeView> {
    return until(`${id} is ${state}`, async () => {
      const node = await this.node(id);
      return node?.state === state && node;
    });
  }

  /** Stops the agents, so that they can deregister, then the coordinator; kills what does not stop. Removes the directory. */
  async close(): Promise<void> {
    const isServer = (run: Run): number => Number(run.name === "fleet-coordinator");
    for (const run of this.#runs.toSorted((a, b) => isServer(a) - isServer(b))) {
      run.kill("SIGTERM");
      await Promise.race([run.exit(), Bun.sleep(STOP_MS)]);
      run.kill("SIGKILL");
      await run.exit();
    }
    rmSync(this.dir, { recursive: true, force: true });
  }
}

let nextRange = 20_000 + (process.pid % 500) * 20;

/** Gives each coordinator its own range of tracker ports, so that parallel tests do not compete for them. */
function withPortRange(config: Json): Json {
  const start = nextRange;
  nextRange += 20;
  const range = { auto_provision_port_start: start, auto_provision_port_end: start + 19 };
  return { ...config, tcp_server: { ...range, ...(config["tcp_server"] as Json | undefined) } };
}

async function follow(
  stream: ReadableStream<Uint8Array>,
  onText: (text: string) => void,
): Promise<void> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const text = rest + decoder.decode(chunk, { stream: true });
    const end = text.lastIndexOf("\n") + 1;
    rest = text.slice(end);
    if (end > 0) onText(text.slice(0, end));
  }
  if (rest !== "") onText(rest);
}
