/** The HTTP listener: serves the application over TCP or TLS, and replaces its certificate without interrupting requests. */
import type { Clock, Log } from "@fleet/daemon";
import type { ErrorCode } from "@fleet/protocol";
import type { Hono } from "hono";
import type { Bearer } from "../auth/auth.ts";
import type { AccessClaims, RefreshClaims } from "../auth/credentials.ts";
import type { Token } from "../auth/token.ts";
import { ListenError } from "../net/listen-error.ts";
import type { TlsFiles, TlsPair } from "../net/tls-files.ts";
import { TlsRenewal } from "../net/tls-renewal.ts";

/**
 * How long a connection may be silent, within a request or between two, in seconds. A silent client holds its socket no
 * longer.
 */
const SILENT_S = 30;

/** The connection of a request, as handlers see it. */
export interface HttpEnv {
  /**
   * Sets how long this connection may be silent, in seconds; 0 means for ever. Only what the client sends breaks the silence.
   */
  readonly allowSilence: (seconds: number) => void;
  /** Whether the response is not complete yet. */
  readonly isOpen: () => boolean;
  /** The client's address; null once the response is complete or the connection is closed. */
  readonly peer: () => string | null;
}

/** What middleware passes to handlers. A route's access decides which of them are set. */
interface RequestVariables {
  /** The shared token of the request: an operator's or, for a registration, an enrolment token. */
  token: Token;
  /** The claims of an agent's access token. */
  claims: AccessClaims;
  /** The claims of the refresh token that a registration presents. */
  refresh: RefreshClaims | undefined;
  /** What the token is, on routes that accept any token. */
  bearer: Bearer;
  /** A token that was sent in the body. */
  tokenInBody: string | undefined;
  /** The subject in the audit log when the path does not contain it. */
  subject: string | undefined;
  /** The code of the error response. */
  errorCode: ErrorCode | undefined;
}

/** The types of the application, for Hono. */
export type AppEnv = { Bindings: HttpEnv; Variables: RequestVariables };

/** Where to listen; port 0 chooses a free port. Without `tls` the listener speaks plain HTTP. */
export interface HttpServerOptions {
  readonly host: string;
  readonly port: number;
  readonly tls: TlsFiles | undefined;
}

/**
 * Serves the application. A new certificate file takes effect within a minute; requests in progress finish with the old one.
 */
export class HttpServer {
  readonly #options: HttpServerOptions;
  readonly #app: Hono<AppEnv>;
  readonly #clock: Clock;
  readonly #log: Log;
  #server: Bun.Server<undefined> | undefined;
  #port: number;
  /** Listeners with earlier certificates, until their last request has ended. */
  readonly #former = new Set<Bun.Server<undefined>>();
  #renewal: TlsRenewal | undefined;

  constructor(options: HttpServerOptions, app: Hono<AppEnv>, clock: Clock, log: Log) {
    this.#options = options;
    this.#app = app;
    this.#clock = clock;
    this.#log = log;
    this.#port = options.port;
  }

  /** The actual port; differs from the configured one only when that is 0. */
  get port(): number {
    return this.#port;
  }

  /** Throws ListenError. */
  start(): void {
    const { host, tls } = this.#options;
    try {
      if (tls === undefined) this.#server = this.#serve();
      else this.#startTls(tls);
    } catch (cause) {
      throw new ListenError("HTTP", host, this.#port, cause);
    }
    this.#port = this.#server?.port ?? this.#port;
    this.#log.info({ host, port: this.#port, tls: tls !== undefined }, "http: listening");
  }

  /** Closes open connections too, since event streams never end by themselves. */
  async stop(): Promise<void> {
    this.#renewal?.stop();
    const former = [...this.#former].map((server) => server.stop(true));
    await Promise.all([this.#server?.stop(true), ...former]);
  }

  #startTls(files: TlsFiles): void {
    this.#renewal = new TlsRenewal({
      files,
      clock: this.#clock,
      log: this.#log,
      name: "http",
      place: "http.tls",
      listen: (pair) => {
        this.#retire();
        this.#server = this.#serve(pair);
      },
    });
    this.#renewal.start();
  }

  #retire(): void {
    const former = this.#server;
    this.#server = undefined;
    if (former === undefined) return;
    this.#former.add(former);
    void former.stop(false).finally(() => this.#former.delete(former));
  }

  #serve(pair?: TlsPair): Bun.Server<undefined> {
    return Bun.serve({
      hostname: this.#options.host,
      port: this.#port,
      idleTimeout: SILENT_S,
      ...(pair === undefined ? {} : { tls: { cert: pair.cert, key: pair.key } }),
      fetch: (request, server) => {
        const env: HttpEnv = {
          allowSilence: (seconds) => server.timeout(request, seconds),
          isOpen: () => server.requestIP(request) !== null,
          peer: () => server.requestIP(request)?.address ?? null,
        };
        return this.#app.fetch(request, env);
      },
    });
  }
}
