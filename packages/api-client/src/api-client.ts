/**
 * The typed client of the coordinator's HTTP API. Each call takes the contract of its route, so paths, input and output are
 * checked by the compiler and responses by their schema. Every request is bounded in time and size, and redirects are
 * refused: the token is for this coordinator alone.
 */
import { type Clock, readBody, readEvents, type ServerEvent, systemClock } from "@fleet/daemon";
import {
  type Contract,
  errorBodySchema,
  eventsApi,
  PROTOCOL_HEADER,
  PROTOCOL_VERSION,
  type RequestOf,
  type ResponseOf,
} from "@fleet/protocol";
import { ApiError } from "./api-error.ts";
import type { Reply } from "./reply.ts";

const TIMEOUT_MS = 10_000;
/** The largest response read by default; metrics and pages of a large fleet take some MB. */
const RESPONSE_BYTES_MAX = 32 * 1024 * 1024;
const MESSAGE_LENGTH_MAX = 500;

/** How to reach the coordinator. */
export interface ApiClientOptions {
  /** The base address, without `/api/v1`. */
  readonly url: string;
  readonly token?: string | undefined;
  /** The authorities to trust in place of the system's, as PEM. */
  readonly ca?: string | undefined;
  /** Connects to this Unix socket in place of the address. */
  readonly unix?: string | undefined;
  readonly clock?: Clock;
  /** The longest time for a whole request. Default: 10 s. */
  readonly timeoutMs?: number;
  /** The largest response. Default: 32 MiB. */
  readonly responseBytesMax?: number;
}

/** What differs for one call. */
export interface CallOptions {
  readonly token?: string | undefined;
  readonly timeoutMs?: number;
}

/** Sends requests to one coordinator. */
export class ApiClient {
  readonly #options: ApiClientOptions;
  readonly #url: string;
  readonly #clock: Clock;

  constructor(options: ApiClientOptions) {
    this.#options = options;
    this.#url = options.url.replace(/\/+$/, "");
    this.#clock = options.clock ?? systemClock;
  }

  /** Calls a route and returns its JSON (or its text, where it has no JSON). Throws ApiError. */
  async call<const C extends Contract>(
    contract: C,
    request: RequestOf<C>,
    options?: CallOptions,
  ): Promise<ResponseOf<C>> {
    const reply = await this.attempt(contract, request, options);
    if (reply.at === "ok") return reply.body;
    throw new ApiError(this.#url, reply);
  }

  /** As `call`, but returns failures, for callers that act on them. Never rejects. */
  async attempt<const C extends Contract>(
    contract: C,
    request: RequestOf<C>,
    options: CallOptions = {},
  ): Promise<Reply<ResponseOf<C>>> {
    const timeoutMs = options.timeoutMs ?? this.#options.timeoutMs ?? TIMEOUT_MS;
    const abort = new AbortController();
    const timer = this.#clock.after(timeoutMs, () =>
      abort.abort(new Error(`no answer within ${timeoutMs} ms`)),
    );
    try {
      const response = await this.#fetch(contract, request as RequestParts, options, abort.signal);
      const bytesMax = this.#options.responseBytesMax ?? RESPONSE_BYTES_MAX;
      const text = (await readBody(response, bytesMax))?.toString("utf8");
      if (text === undefined)
        return { at: "unreachable", reason: `the answer is longer than ${bytesMax} bytes` };
      return response.ok ? accepted(contract, response, text) : refused(response, text);
    } catch (error) {
      return { at: "unreachable", reason: reasonOf(error) };
    } finally {
      timer.cancel();
    }
  }

  /** Follows the events of a topic until the stream ends or `signal` aborts. Throws ApiError when it does not open. */
  async *follow(topic: string, signal?: AbortSignal): AsyncGenerator<ServerEvent> {
    let response: Response;
    try {
      response = await this.#fetch(eventsApi.follow, { query: { topic } }, {}, signal);
    } catch (error) {
      throw new ApiError(this.#url, { at: "unreachable", reason: reasonOf(error) });
    }
    if (!response.ok) throw new ApiError(this.#url, refused(response, await response.text()));
    yield* readEvents(response);
  }

  #fetch(
    contract: Contract,
    request: RequestParts,
    { token = this.#options.token }: CallOptions,
    signal: AbortSignal | undefined,
  ): Promise<Response> {
    const { ca, unix } = this.#options;
    const { body } = request;
    return fetch(this.#url + pathOf(contract, request), {
      method: contract.method,
      redirect: "manual",
      // A server may close an idle connection just as the next request is sent.
      keepalive: false,
      headers: {
        [PROTOCOL_HEADER]: String(PROTOCOL_VERSION),
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
        ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
      },
      ...(signal === undefined ? {} : { signal }),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(ca === undefined ? {} : { tls: { ca } }),
      ...(unix === undefined ? {} : { unix }),
    });
  }
}

type QueryValue = string | number | boolean;

/** A request without the types of its contract. */
interface RequestParts {
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, QueryValue | readonly QueryValue[] | undefined>>;
  readonly body?: unknown;
}

function pathOf({ path }: Contract, { params = {}, query = {} }: RequestParts): string {
  const filled = path.replaceAll(/:(\w+)/g, (_, name: string) => encodeURIComponent(params[name]!));
  const search = new URLSearchParams();
  for (const [name, values] of Object.entries(query))
    for (const value of [values].flat())
      if (value !== undefined) search.append(name, String(value));
  return search.size === 0 ? filled : `${filled}?${search.toString()}`;
}

function accepted<C extends Contract>(
  { responses }: C,
  response: Response,
  text: string,
): Reply<ResponseOf<C>> {
  const date = Date.parse(response.headers.get("Date") ?? "");
  const serverDateMs = Number.isNaN(date) ? undefined : date;
  const { schema, type } = Object.values(responses)[0]!;
  const ok = (body: unknown): Reply<ResponseOf<C>> => ({
    at: "ok",
    body: body as ResponseOf<C>,
    serverDateMs,
  });
  if (schema === undefined) return ok(type === undefined ? undefined : text);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { at: "unreachable", reason: "the answer is not JSON" };
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return ok(parsed.data);
  const [issue] = parsed.error.issues;
  return { at: "malformed", reason: `${issue!.path.join(".")}: ${issue!.message}` };
}

function refused(
  { status, headers }: Response,
  text: string,
): Extract<Reply<never>, { readonly at: "refused" }> {
  const seconds = Number(headers.get("Retry-After") ?? Number.NaN);
  const retryAfterMs = seconds >= 0 ? seconds * 1000 : undefined;
  return { at: "refused", status, ...errorOf(text), retryAfterMs };
}

function errorOf(text: string): { readonly code: string; readonly message: string } {
  try {
    const { error } = errorBodySchema.parse(JSON.parse(text));
    return { code: error.code, message: error.message.slice(0, MESSAGE_LENGTH_MAX) };
  } catch {
    return { code: "unknown", message: "" };
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code } = error as Error & { readonly code?: unknown };
  return typeof code === "string" ? code : error.message;
}
