/**
 * `GET /health` on an address of the agent's own, for the coordinator that has just started and for whoever watches the
 * container: who this is and where it stands. Off unless the config has `health:`. It holds no secret, needs no token, and is
 * never in the agent's way: where it can't listen the agent says so and goes on without. (R2)
 */
import type { Log } from "@fleet/daemon";
import type { AgentHealth } from "@fleet/protocol";
import type { HealthConfig } from "./config/config.ts";

/** What is served. */
export interface HealthOptions {
  readonly config: HealthConfig;
  readonly hostname: string;
  readonly answer: () => AgentHealth;
  readonly log: Log;
}

/** Seconds a connection may be silent. */
const SILENT_S = 10;
const ANY_HOSTS: readonly string[] = ["0.0.0.0", "::"];
const HOSTNAME = /^[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/;

/** Serves `/health` between `start` and `stop`. */
export class HealthServer {
  readonly #options: HealthOptions;
  #server: Bun.Server<undefined> | undefined;

  constructor(options: HealthOptions) {
    this.#options = options;
  }

  /** What the coordinator is told; undefined while nobody would answer there. */
  get agentUrl(): string | undefined {
    const { config, hostname } = this.#options;
    return this.#server && agentUrlOf(config, hostname);
  }

  start(): void {
    const { config, hostname, log } = this.#options;
    const { host, port } = config;
    try {
      this.#server = Bun.serve({
        hostname: host,
        port,
        idleTimeout: SILENT_S,
        maxRequestBodySize: 0,
        development: false,
        // Which would be on by that, and give two processes one port.
        reusePort: false,
        fetch: (request) => this.#answer(request),
      });
    } catch (err) {
      log.warn({ host, port, err }, "health: can't listen there; going on without");
      return;
    }
    const url = agentUrlOf(config, hostname);
    if (url === undefined)
      log.warn({ hostname }, "health: this host name is no part of a URL; health.url is needed");
    log.info({ host, port, agent_url: url }, "health: listening");
  }

  async stop(): Promise<void> {
    await this.#server?.stop(true);
    this.#server = undefined;
  }

  #answer(request: Request): Response {
    if (new URL(request.url).pathname !== "/health") return new Response(null, { status: 404 });
    if (request.method !== "GET" && request.method !== "HEAD")
      return new Response(null, { status: 405, headers: { allow: "GET, HEAD" } });
    return Response.json(this.#options.answer(), { headers: { "cache-control": "no-store" } });
  }
}

/** As configured; else the address it listens on, or the host name where that is any address. */
function agentUrlOf({ host, port, url }: HealthConfig, hostname: string): string | undefined {
  if (url !== undefined) return url;
  if (ANY_HOSTS.includes(host))
    return HOSTNAME.test(hostname) ? `http://${hostname}:${port}` : undefined;
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
}
