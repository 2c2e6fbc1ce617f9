/** The coordinator outside the roots: the built binary on loopback, with a tracker that records its frames. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ApiClient } from "@fleet/api-client";
import { nodesApi, type NodeView } from "@fleet/protocol";
import { until } from "./root.ts";

const TRACKER = join(import.meta.dir, "../../../coordinator/test/rig/recording-tracker.ts");
const OPERATOR_TOKEN = "operator-token-of-the-roots";
/** One tracker per stream. */
const PORTS = 32;
const PORT_FIRST = 12_000 + (process.pid % 500) * PORTS;

export const ENROLL_TOKEN = "enroll-token-of-the-roots";

export class Outside {
  readonly #dir: string;
  readonly #child: Bun.Subprocess<"ignore", "ignore", "pipe">;
  readonly #url: string;

  private constructor(dir: string, child: Bun.Subprocess<"ignore", "ignore", "pipe">, url: string) {
    this.#dir = dir;
    this.#child = child;
    this.#url = url;
  }

  /** Starts `binary` with its files in `dir`. Resolves once it is ready. */
  static async start(binary: string, dir: string): Promise<Outside> {
    mkdirSync(dir);
    const config = {
      tcp_server: {
        auto_provision_port_start: PORT_FIRST,
        auto_provision_port_end: PORT_FIRST + PORTS - 1,
      },
      tracker: {
        command: [process.execPath, TRACKER, "{port}", join(dir, "{stream}")],
        stop_grace: "1s",
      },
    };
    const path = join(dir, "coordinator.yaml");
    writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
    const anyPort = ["--http", "127.0.0.1:0", "--frames", "127.0.0.1:0"];
    const child = Bun.spawn(
      [binary, "serve", "--config", path, "--data-dir", join(dir, "data"), ...anyPort],
      {
        cwd: dir,
        env: {
          PATH: process.env["PATH"] ?? "",
          FLEET_ENROLL_TOKEN: ENROLL_TOKEN,
          FLEET_OPERATOR_TOKEN: OPERATOR_TOKEN,
        },
        stdio: ["ignore", "ignore", "pipe"],
      },
    );
    let log = "";
    void readAll(child.stderr, (text) => void (log += text));
    const port = await until("the coordinator is ready", () => {
      if (child.exitCode !== null)
        throw new Error(`the coordinator ended with ${child.exitCode}: ${log}`);
      const ready = log.split("\n").find((line) => line.includes('"msg":"ready"'));
      return ready === undefined
        ? undefined
        : (JSON.parse(ready) as { http_port: number }).http_port;
    });
    return new Outside(dir, child, `http://127.0.0.1:${port}`);
  }

  /** The settings that an agent needs to register. */
  get environment(): Readonly<Record<string, string>> {
    return { FLEET_COORDINATOR_URL: this.#url, FLEET_ENROLL_TOKEN: ENROLL_TOKEN };
  }

  /** The node in the node list; undefined while it is not listed. */
  async node(id: string): Promise<NodeView | undefined> {
    const api = new ApiClient({ url: this.#url, token: OPERATOR_TOKEN });
    const reply = await api.attempt(nodesApi.get, { params: { id } });
    return reply.at === "ok" ? reply.body : undefined;
  }

  /** The first delay of each frame that the stream's tracker received; the sensors number their frames with it. */
  frames(stream: string): readonly (number | undefined)[] {
    const path = join(this.#dir, stream);
    if (!existsSync(path)) return [];
    const lines = readFileSync(path, "utf8").split("\n");
    // Text after the last LF is still being written.
    return lines.slice(0, -1).map((line) => (JSON.parse(line) as { delay: number[] }).delay[0]);
  }

  async stop(): Promise<number> {
    this.#child.kill("SIGTERM");
    return this.#child.exited;
  }
}

async function readAll(
  stream: ReadableStream<Uint8Array>,
  onText: (text: string) => void,
): Promise<void> {
  const decoder = new TextDecoder();
  for await (const chunk of stream) onText(decoder.decode(chunk, { stream: true }));
}
