/** Runs a coordinator repeatedly on one data directory, killing each run one step later than the last. (kill-step.ts) */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PROTOCOL_HEADER } from "@fleet/protocol";
import { ENROLL_TOKEN, OPERATOR_TOKEN, until } from "../rig/fleet.ts";

const MAIN = join(import.meta.dir, "../../src/main.ts");
const KILL_STEP = join(import.meta.dir, "kill-step.ts");
const STEPS_MAX = 300;

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

/** One run of a coordinator from source. */
export class Coordinator {
  readonly #process: Bun.Subprocess<"ignore", "ignore", "pipe">;
  #log = "";
  #url = "";

  readonly #killFile: string;

  constructor(dir: string) {
    const address = "127.0.0.1:0";
    this.#killFile = join(dir, "kill-at");
    this.#process = Bun.spawn(
      [process.execPath, "--preload", KILL_STEP, MAIN, "serve"].concat(
        ["--config", join(dir, "coordinator.yaml"), "--data-dir", join(dir, "data")],
        ["--http", address, "--frames", address],
      ),
      {
        env: {
          PATH: process.env["PATH"] ?? "",
          FLEET_ENROLL_TOKEN: ENROLL_TOKEN,
          FLEET_OPERATOR_TOKEN: OPERATOR_TOKEN,
          KILL_FILE: this.#killFile,
        },
        stdio: ["ignore", "ignore", "pipe"],
      },
    );
    void this.#follow();
  }

  async ready(): Promise<this> {
    const port = await this.#untilLogged(/"http_port":(\d+).*"msg":"ready"/);
    this.#url = `http://127.0.0.1:${port}`;
    return this;
  }

  /** Arranges a kill before the `n`th statement from now on. */
  async arm(n: number): Promise<void> {
    writeFileSync(this.#killFile, String(n));
    this.#process.kill("SIGUSR2");
    await this.#untilLogged(new RegExp(`armed (${n})\n`));
  }

  /** Sends a request with the protocol's header. Throws if there is no response. */
  async ask(method: string, path: string, token: string, body?: unknown): Promise<Answer> {
    const response = await fetch(`${this.#url}${path}`, {
      method,
      headers: { Authorization: `Bearer ${token}`, [PROTOCOL_HEADER]: "1" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, body: text === "" ? undefined : JSON.parse(text) };
  }

  /** Sends `signal` and waits for the end. Reports whether SIGKILL ended the process. */
  async end(signal: "SIGTERM" | "SIGKILL"): Promise<boolean> {
    this.#process.kill(signal);
    await this.#process.exited;
    return this.#process.signalCode === "SIGKILL";
  }

  async #untilLogged(pattern: RegExp): Promise<string> {
    return until(`${pattern} is in the log: ${this.#log}`, () => pattern.exec(this.#log)?.[1]);
  }

  async #follow(): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of this.#process.stderr) this.#log += decoder.decode(chunk);
  }
}

/** What a walk does in each run. `T` is the memory of its client. */
export interface Walk<T> {
  /** Runs before kills begin. */
  readonly prepare?: (coordinator: Coordinator, memory: T) => Promise<void>;
  /** May be cut short anywhere, and requests then throw. */
  readonly act: (coordinator: Coordinator, memory: T) => Promise<void>;
  /** Runs after the restart. */
  readonly check: (coordinator: Coordinator, memory: T) => Promise<void>;
  readonly config?: Record<string, unknown>;
}

/** Walks through all steps, one run for each, on one data directory. Returns the number of steps. */
export async function walk<T>(
  newMemory: (run: number) => T,
  { prepare, act, check, config }: Walk<T>,
): Promise<number> {
  const dir = mkdtempSync(join(tmpdir(), "fleet-walk-"));
  const tracker = { command: ["fleet-tracker"] };
  writeFileSync(join(dir, "coordinator.yaml"), JSON.stringify({ tracker, ...config }));
  let coordinator = await new Coordinator(dir).ready();
  try {
    for (let n = 1; n <= STEPS_MAX; n++) {
      const memory = newMemory(n);
      await prepare?.(coordinator, memory);
      await coordinator.arm(n);
      const acting = act(coordinator, memory);
      await acting.catch(() => {});
      const wasKilled = await coordinator.end("SIGTERM");
      if (!wasKilled) await acting;
      coordinator = await new Coordinator(dir).ready();
      await check(coordinator, memory);
      if (!wasKilled) return n - 1;
    }
    throw new Error(`more than ${STEPS_MAX} steps`);
  } finally {
    await coordinator.end("SIGKILL");
    rmSync(dir, { recursive: true });
  }
}
