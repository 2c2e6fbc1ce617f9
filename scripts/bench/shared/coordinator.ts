/** Starts a real coordinator for a bench. */
import { join } from "node:path";
import { root } from "../../lib/root.ts";
import { start, untilOk } from "./processes.ts";

export const ENROLL_TOKEN = "bench-enroll";
const OPERATOR_TOKEN = "bench-operator";

/** `http` and `frames` are `HOST:PORT`; `config` is a config file's path. */
export interface CoordinatorOptions {
  readonly dataDir: string;
  readonly http: string;
  readonly frames: string;
  readonly config?: string;
}

/** Starts it and waits until it answers. */
export async function startCoordinator(options: CoordinatorOptions): Promise<Bun.Subprocess> {
  const { dataDir, http, frames, config } = options;
  const flags = ["--data-dir", dataDir, "--log-level", "error", "--http", http, "--frames", frames];
  if (config !== undefined) flags.push("--config", config);
  const server = start([join(root, "dist/fleet-coordinator"), "serve", ...flags], {
    FLEET_ENROLL_TOKEN: ENROLL_TOKEN,
    FLEET_OPERATOR_TOKEN: OPERATOR_TOKEN,
  });
  await untilOk(`http://${http.replace("0.0.0.0", "127.0.0.1")}/healthz`);
  return server;
}
