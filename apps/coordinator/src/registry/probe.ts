/**
 * Asks the agents that are known from before this start for a sign of life, so that who is there is LIVE at once and not at
 * its next check-in. Every known node with an `agent_url` is asked once, PARALLEL at a time; who has been heard meanwhile is
 * not asked. (R2)
 *
 * The address was told by whoever could register, so as little as possible is done with it: one GET of `/health`, without
 * credentials, no redirect followed, a few bytes read, and nothing of them shown to anybody.
 */
import type { Clock, Log } from "@fleet/daemon";
import { type AgentHealth, agentHealthSchema, instanceDigest } from "@fleet/protocol";
import type { Node } from "./node.ts";
import type { Registry } from "./registry.ts";

const PARALLEL = 64;
/** A whole question takes at most this long. */
const ANSWER_MS_MAX = 5000;
/** The largest answer that is read. */
const BODY_BYTES_MAX = 4096;

/** What the probe works with. */
export interface ProbeDeps {
  readonly registry: Registry;
  readonly clock: Clock;
  readonly log: Log;
}

/** To be started after the registry and stopped before it. */
export class Probe {
  readonly #deps: ProbeDeps;
  readonly #abort = new AbortController();
  #running: Promise<unknown> = Promise.resolve();

  constructor(deps: ProbeDeps) {
    this.#deps = deps;
  }

  /** Begins to ask; does not wait for the answers. */
  start(): void {
    this.#running = this.#run();
  }

  /** Gives up what is not answered yet. */
  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { registry, clock, log } = this.#deps;
    const startMs = clock.monotonicMs();
    const nodes = registry.list().filter(isAddressed);
    if (nodes.length === 0) return;
    const waiting = nodes.values();
    const outcome = { asked: 0, answered: 0 };
    const ask = async (): Promise<void> => {
      for (const node of waiting) {
        if (this.#abort.signal.aborted) return;
        if (!this.#isAwaited(node)) continue;
        outcome.asked++;
        if (await this.#ask(node)) outcome.answered++;
      }
    };
    await Promise.all(Array.from({ length: PARALLEL }, ask));
    const tookMs = Math.round(clock.monotonicMs() - startMs);
    log.info({ ...outcome, took_ms: tookMs }, "known agents asked for a sign of life");
  }

  /** Whether it answered, as itself, and was not heard or replaced meanwhile. */
  async #ask(node: Node): Promise<boolean> {
    const { registry, clock } = this.#deps;
    const health = await askHealth(clock, node.row.agentUrl!, this.#abort.signal);
    // By now it may be another instance's row.
    if (health === undefined || !this.#isAwaited(node) || !isOf(health, node)) return false;
    registry.heard(node.id);
    return true;
  }

  #isAwaited(node: Node): boolean {
    return this.#deps.registry.get(node.id) === node && node.heardAtMs === undefined;
  }
}

function isOf({ node_id: id, instance_sha256: digest }: AgentHealth, { row }: Node): boolean {
  return id === row.nodeId && (digest === undefined || digest === instanceDigest(row.instanceId!));
}

/** One that said goodbye is not revived by an answer. */
function isAddressed({ row }: Node): boolean {
  return row.agentUrl !== null && row.shutdownAt === null;
}

/** What the agent at `url` says of itself; undefined when it says nothing that counts, whatever the reason. */
async function askHealth(
  clock: Clock,
  url: string,
  stopped: AbortSignal,
): Promise<AgentHealth | undefined> {
  const late = new AbortController();
  const timer = clock.after(ANSWER_MS_MAX, () => late.abort());
  try {
    const response = await fetch(new URL("/health", url), {
      headers: { accept: "application/json", "accept-encoding": "identity" },
      redirect: "manual",
      // A body that is taken as it comes can't be larger than what was read of it.
      decompress: false,
      keepalive: false,
      signal: AbortSignal.any([stopped, late.signal]),
    });
    const body = response.status === 200 ? await bodyOf(response) : undefined;
    if (body === undefined) {
      await response.body?.cancel();
      return undefined;
    }
    return agentHealthSchema.safeParse(JSON.parse(body)).data;
  } catch {
    return undefined;
  } finally {
    timer.cancel();
  }
}

/** Undefined when it is too long. */
async function bodyOf(response: Response): Promise<string | undefined> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  const body: AsyncIterable<Uint8Array> | null = response.body;
  for await (const part of body ?? []) {
    bytes += part.length;
    if (bytes > BODY_BYTES_MAX) return undefined;
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}
