/**
 * The agent's requests to the coordinator's HTTP API, each bounded in time and size. Every outcome is returned as a value:
 * check-in.ts interprets it for Registration.
 */
import type { Clock, Timer } from "@fleet/daemon";
import { errorBodySchema, PROTOCOL_HEADER, PROTOCOL_VERSION } from "@fleet/protocol";

/** The outcome of a request. `unreachable` is anything but a complete, well-formed answer. */
export type Reply =
  | { readonly at: "ok"; readonly body: unknown; readonly serverDateMs: number | undefined }
  | {
      readonly at: "refused";
      readonly status: number;
      readonly code: string;
      readonly message: string;
      readonly retryAfterMs: number | undefined;
    }
  | { readonly at: "unreachable"; readonly reason: string };

/** The most time that a request may take. */
export const REQUEST_MS_MAX = 10_000;
/** The largest answer that is accepted. */
export const BODY_BYTES_MAX = 1024 * 1024;
const MESSAGE_LENGTH_MAX = 500;

/** The address of the coordinator. `url` lacks the `/api/v1` prefix. `ca` is as in AgentConfig. */
export interface CoordinatorClientOptions {
  readonly url: string;
  readonly ca: string | undefined;
  readonly clock: Clock;
}

/** A JSON client of one coordinator. It follows no redirects, because the token is for this coordinator only. */
export class CoordinatorClient {
  readonly #url: string;
  readonly #tls: { readonly tls?: { readonly ca: string } };
  readonly #clock: Clock;

  constructor(options: CoordinatorClientOptions) {
    this.#url = options.url.replace(/\/+$/, "");
    this.#tls = options.ca === undefined ? {} : { tls: { ca: options.ca } };
    this.#clock = options.clock;
  }

  /** Sends `POST <url>/api/v1/<path>` and reads the answer within `timeoutMs`. Never rejects. Without `token` there is no Authorization header. */
  post(
    path: string,
    body: unknown,
    token: string | undefined,
    timeoutMs = REQUEST_MS_MAX,
  ): Promise<Reply> {
    return this.#ask(`/api/v1/${path}`, token, timeoutMs, {
      method: "POST",
      body: JSON.stringify(body),
    });
  }

  /** Sends `GET <url><path>`, `path` with its leading slash; otherwise like `post`. */
  get(path: string, token: string | undefined, timeoutMs = REQUEST_MS_MAX): Promise<Reply> {
    return this.#ask(path, token, timeoutMs, { method: "GET" });
  }

  async #ask(
    path: string,
    token: string | undefined,
    timeoutMs: number,
    request: { readonly method: string; readonly body?: string },
  ): Promise<Reply> {
    const abort = new AbortController();
    const timer: Timer = this.#clock.after(timeoutMs, () =>
      abort.abort(new Error(`no answer within ${timeoutMs} ms`)),
    );
    try {
      const response = await fetch(this.#url + path, {
        ...request,
        ...this.#tls,
        // Servers close connections that are idle between two heartbeats; reusing one would then fail.
        keepalive: false,
        redirect: "manual",
        signal: abort.signal,
        headers: {
          ...(request.body === undefined ? {} : { "content-type": "application/json" }),
          [PROTOCOL_HEADER]: String(PROTOCOL_VERSION),
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        },
      });
      const text = await readBounded(response);
      return response.ok ? answered(response, text) : refused(response, text);
    } catch (error) {
      return { at: "unreachable", reason: reasonOf(error) };
    } finally {
      timer.cancel();
    }
  }
}

/** The body as text. Throws if it is longer than BODY_BYTES_MAX. */
async function readBounded(response: Response): Promise<string> {
  if (response.body === null) return "";
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
    length += chunk.length;
    if (length > BODY_BYTES_MAX)
      throw new Error(`the answer is longer than ${BODY_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function answered(response: Response, text: string): Reply {
  const date = Date.parse(response.headers.get("date") ?? "");
  const serverDateMs = Number.isNaN(date) ? undefined : date;
  try {
    return { at: "ok", body: text === "" ? undefined : JSON.parse(text), serverDateMs };
  } catch {
    return { at: "unreachable", reason: "the answer is not JSON" };
  }
}

function refused(response: Response, text: string): Reply {
  const seconds = Number(response.headers.get("retry-after") ?? Number.NaN);
  return {
    at: "refused",
    status: response.status,
    ...errorOf(text),
    retryAfterMs: seconds >= 0 ? seconds * 1000 : undefined,
  };
}

function errorOf(text: string): { code: string; message: string } {
  try {
    const { error } = errorBodySchema.parse(JSON.parse(text));
    return { code: error.code, message: error.message.slice(0, MESSAGE_LENGTH_MAX) };
  } catch {
    return { code: "unknown", message: "" };
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = (error as Error & { code?: unknown }).code;
  return typeof code === "string" ? code : error.message;
}
