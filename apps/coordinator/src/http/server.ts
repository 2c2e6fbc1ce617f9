/** The HTTP listener. */
import type { Log } from "@fleet/daemon";
import type { Hono } from "hono";
import { ListenError } from "../listen-error.ts";

/** Where to listen. Port 0 takes any. */
export interface HttpAddress {
  readonly host: string;
  readonly port: number;
}

/** Serves the application. */
export class HttpServer {
  readonly #address: HttpAddress;
  readonly #app: Hono;
  readonly #log: Log;
  #server: Bun.Server<undefined> | undefined;

  constructor(address: HttpAddress, app: Hono, log: Log) {
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
        // Event streams are silent for long; requests are bounded by their size instead.
        idleTimeout: 0,
        fetch: (request) => this.#app.fetch(request),
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
