/** Helpers shared by the coordinator's tests: temporary directories, a recording log, a read-only database, registrations. */
import { randomInt } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Log, sleep, systemClock } from "@fleet/daemon";
import {
  type InstanceId,
  type NodeId,
  registerRequestSchema,
  type RegisterRequest,
  type Registration,
  type SharedTokenKind,
  type StreamId,
} from "@fleet/protocol";
import { sql } from "drizzle-orm";
import type { TokenSettings } from "./auth/tokens.ts";
import type { Db } from "./db/open.ts";
import type { RegistryOptions } from "./registry/node.ts";

const POLL_MS = 1;
const [FREE_PORTS_FIRST, FREE_PORTS_LAST] = [12_000, 28_000];

/** A temporary directory, removed at the end of the block: `using dir = tempDir()`. */
export function tempDir(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), "fleet-coordinator-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** One line of a RecordingLog. */
export interface LogLine {
  readonly level: "debug" | "info" | "warn" | "error";
  readonly fields: Record<string, unknown>;
  readonly message: string;
}

/** Records every log line. */
export class RecordingLog implements Log {
  readonly lines: LogLine[];
  readonly #fields: Record<string, unknown>;

  constructor(lines: LogLine[] = [], fields: Record<string, unknown> = {}) {
    this.lines = lines;
    this.#fields = fields;
  }

  debug(fields: Record<string, unknown>, message: string): void {
    this.#add("debug", fields, message);
  }
  info(fields: Record<string, unknown>, message: string): void {
    this.#add("info", fields, message);
  }
  warn(fields: Record<string, unknown>, message: string): void {
    this.#add("warn", fields, message);
  }
  error(fields: Record<string, unknown>, message: string): void {
    this.#add("error", fields, message);
  }
  child(fields: Record<string, unknown>): Log {
    return new RecordingLog(this.lines, { ...this.#fields, ...fields });
  }

  /** How many lines have this message. */
  count(message: string): number {
    return this.lines.filter((l) => l.message === message).length;
  }

  #add(level: LogLine["level"], fields: Record<string, unknown>, message: string): void {
    this.lines.push({ level, fields: { ...this.#fields, ...fields }, message });
  }
}

/** Polls until `isSo` returns true, for effects of other processes or sockets; the test's timeout bounds it. Calls `step` between polls. */
export async function until(isSo: () => boolean, step: () => void = () => {}): Promise<void> {
  while (!isSo()) {
    step();
    await sleep(systemClock, POLL_MS);
  }
}

/** A port that is free now. */
export function freePort(): number {
  const probe = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  probe.stop(true);
  return probe.port;
}

/** The first of `count` consecutive ports that are free now, below the range of outgoing connections. */
export function freePorts(count: number): number {
  for (;;) {
    const first = randomInt(FREE_PORTS_FIRST, FREE_PORTS_LAST - count);
    if (Array.from({ length: count }, (_, n) => first + n).every(isFree)) return first;
  }
}

function isFree(port: number): boolean {
  try {
    Bun.listen({ hostname: "127.0.0.1", port, socket: { data() {} } }).stop(true);
    return true;
  } catch {
    return false;
  }
}

/** Makes every write to the database fail, as on a full disk, or succeed again. */
export function refuseWrites(db: Db, refuse: boolean): void {
  db.run(sql.raw(`PRAGMA query_only = ${refuse ? 1 : 0}`));
}

/** The registry's defaults, except that it never forgets a node. */
export const REGISTRY_OPTIONS: RegistryOptions = {
  staleAfterMs: 90_000,
  deadAfterMs: 300_000,
  agentNodesMax: 20_000,
  plainNodesMax: 20_000,
  retentionMs: { persistent: Number.POSITIVE_INFINITY, ephemeral: Number.POSITIVE_INFINITY },
};

/** Configures one token of each kind that `secrets` names. */
export function configuredTokens(secrets: Partial<Record<SharedTokenKind, string>>): TokenSettings {
  const configured = Object.entries(secrets).map(([kind, secret]) => ({
    kind: kind as SharedTokenKind,
    name: `env:FLEET_${kind.toUpperCase()}_TOKEN`,
    secret,
  }));
  return { configured, insecureDev: false };
}

/** A registration parsed by the schema, with defaults filled in. */
export function registration(
  request: Partial<RegisterRequest> & { readonly node_id: string; readonly instance_id: string },
): Registration {
  return registerRequestSchema.parse({
    version: "1.0.0",
    sensors: [{ name: "radar", runtime: "python", mode: "stream" }],
    ...request,
  });
}

/** Branded ids, without parsing. */
export const nodeId = (text: string): NodeId => text as NodeId;
export const instanceId = (text: string): InstanceId => text as InstanceId;
export const streamId = (text: string): StreamId => text as StreamId;
