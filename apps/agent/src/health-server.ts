/**
 * Serves `GET /health`, which names the node and its registration state, to a coordinator that has just started and to monitors
 * of the container. Off unless the config has `health:`. It needs no token and returns no secret. If it can't listen, the agent
 * logs that and runs without it. (R2)
 */
import type { Log } from "@fleet/daemon";
import type { AgentHealth } from "@fleet/protocol";
import type { HealthConfig } from "./config/config.ts";

/** What the server needs; `answer` returns the body of `/health`. */
export interface HealthOptions {
  readonly config: HealthConfig;
  readonly hostname: string;
  readonly answer: () => AgentHealth;
  readonly log: Log;
}

/** Seconds after which an idle connection is closed. */
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

  /** The URL for the coordinator; undefined while the server does not listen. */
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
        // Otherwise two processes could listen on the same port.
        reusePort: false,
        fetch: (request) => this.#answer(request),
      });
    } catch (err) {
      log.warn({ host, port, err }, "health: could not listen; /health is not served");
      return;
    }
    const url = agentUrlOf(config, hostname);
    if (url === undefined)
      log.warn({ hostname }, "health: this host name can't be used in a URL; set health.url");
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

/** The configured URL, else one of the listen address, with the host name in place of a wildcard address. */
function agentUrlOf({ host, port, url }: HealthConfig, hostname: string): string | undefined {
  if (url !== undefined) return url;
  if (ANY_HOSTS.includes(host))
    return HOSTNAME.test(hostname) ? `http://${hostname}:${port}` : undefined;
  return `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
}
