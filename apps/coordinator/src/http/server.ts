/** The HTTP listener. */
import type { Log } from "@fleet/daemon";
import type { Hono } from "hono";
import type { Token } from "../auth/tokens.ts";
import { ListenError } from "../listen-error.ts";

/** Seconds a connection may be silent, in a request or between two. A silent client holds a socket no longer than this. */
const SILENT_S = 30;

/** What routes get from the server besides the request. */
export interface HttpEnv {
  /** How long this request's connection may be silent, in seconds; 0 for ever. Writing to it does not count as a sound. */
  readonly allowSilence: (seconds: number) => void;
  /** Whether its answer is still to be sent, or being sent. */
  readonly isOpen: () => boolean;
  /** The address it came from; null once it is not open. */
  readonly peer: () => string | null;
}

/** What the middleware and the routes of one request tell each other. */
interface RequestNotes {
  /** The shared token that opened the door, of routes that take one. */
  token?: Token;
  /** A token that came neither as a bearer nor in a header. */
  shownToken?: string;
  /** What the audit log calls the thing that was acted on, where the path doesn't say. */
  subject?: string;
  /** Why it failed. */
  errorCode?: string;
}

/** The application's types, for Hono. */
export type AppEnv = { Bindings: HttpEnv; Variables: RequestNotes };

/** Where to listen. Port 0 takes any. */
export interface HttpAddress {
  readonly host: string;
  readonly port: number;
}

/** Serves the application. */
export class HttpServer {
  readonly #address: HttpAddress;
  readonly #app: Hono<AppEnv>;
  readonly #log: Log;
  #server: Bun.Server<undefined> | undefined;

  constructor(address: HttpAddress, app: Hono<AppEnv>, log: Log) {
    this.#address = address;
    this.#app = app;
    this.#log = log;
  }

  get port(): number {
    return this.#server?.port ?? this.#address.port;
  }

  start(): void {
    const { host, port } = this.#address;
    try {
      this.#server = Bun.serve({
        hostname: host,
        port,
        idleTimeout: SILENT_S,
        fetch: (request, server) => {
          const env: HttpEnv = {
            allowSilence: (seconds) => server.timeout(request, seconds),
            isOpen: () => server.requestIP(request) !== null,
            peer: () => server.requestIP(request)?.address ?? null,
          };
          return this.#app.fetch(request, env);
        },
      });
    } catch (cause) {
      throw new ListenError("HTTP", host, port, cause);
    }
    this.#log.info({ host, port: this.port }, "http: listening");
  }

  /** Ends what is open too: event streams would never end by themselves. */
  async stop(): Promise<void> {
    await this.#server?.stop(true);
  }
}
