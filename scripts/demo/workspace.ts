/** The demo's directory in the system's temp directory: tokens, configs, state and logs of everything it starts. */
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DemoOptions } from "./options.ts";
import type { PreparedNode } from "./nodes.ts";

const SECRET_MODE = 0o600;
const TOKEN_BYTES = 24;

/** Paths in `dir`, which only its owner can read. */
export interface Workspace {
  readonly dir: string;
  readonly logs: string;
  readonly enrollTokenFile: string;
  readonly operatorTokenFile: string;
  readonly operatorToken: string;
}

/** Creates the directory and new tokens. */
export function createWorkspace(): Workspace {
  const dir = mkdtempSync(join(tmpdir(), "fleet-demo-"));
  const logs = join(dir, "logs");
  mkdirSync(logs);
  const enrollTokenFile = join(dir, "enroll-token");
  const operatorTokenFile = join(dir, "operator-token");
  writeToken(enrollTokenFile);
  return {
    dir,
    logs,
    enrollTokenFile,
    operatorTokenFile,
    operatorToken: writeToken(operatorTokenFile),
  };
}

/** Removes the directory and everything in it. */
export function removeWorkspace({ dir }: Workspace): void {
  rmSync(dir, { recursive: true, force: true });
}

/** Writes the coordinator's config. Returns its arguments. */
export function coordinatorArgs(
  workspace: Workspace,
  options: Pick<DemoOptions, "httpPort" | "framesPort">,
  trackerPorts: { readonly first: number; readonly last: number },
): readonly string[] {
  const dataDir = join(workspace.dir, "coordinator");
  const config = join(workspace.dir, "coordinator.yaml");
  mkdirSync(dataDir);
  writeFileSync(
    config,
    `http: { host: 127.0.0.1, port: ${options.httpPort} }
tcp_server:
  host: 127.0.0.1
  port: ${options.framesPort}
  auto_provision_port_start: ${trackerPorts.first}
  auto_provision_port_end: ${trackerPorts.last}
enroll_token_file: ${quoted(workspace.enrollTokenFile)}
operator_token_file: ${quoted(workspace.operatorTokenFile)}
# Shorter than the defaults, so that a killed node soon becomes STALE, then DEAD.
registry: { heartbeat_interval: 2s, stale_after: 6s, dead_after: 30s }
`,
  );
  return ["serve", "--config", config, "--data-dir", dataDir];
}

/** Writes a node's config. Returns the arguments of its agent. */
export function agentArgs(
  workspace: Workspace,
  node: Extract<PreparedNode, { at: "ready" }>,
  coordinatorUrl: string,
): readonly string[] {
  const dir = join(workspace.dir, node.name);
  const config = join(dir, "agent.yaml");
  mkdirSync(dir);
  writeFileSync(
    config,
    `coordinator:
  url: ${coordinatorUrl}
  enroll_token_file: ${quoted(workspace.enrollTokenFile)}
node: { name: ${node.name}, group: demo }
runtimes: [${node.runtime === "native" ? "auto, native" : "auto"}]
sensors:
  - name: radar
    runtime: ${node.runtime}
    command: [${node.command.map(quoted).join(", ")}]
`,
  );
  return ["run", "--config", config, "--state-dir", join(dir, "state")];
}

/** Quotes a string for YAML. JSON is valid YAML. */
function quoted(text: string): string {
  return JSON.stringify(text);
}

function writeToken(path: string): string {
  const token = randomBytes(TOKEN_BYTES).toString("base64url");
  writeFileSync(path, `${token}\n`, { mode: SECRET_MODE });
  return token;
}
