/** The API's errors: one table from code to status, public message and log level. Internal messages never reach a peer. */
import type { ErrorBody } from "@fleet/protocol";
import type { Context } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";

/** How an error is answered, and logged. */
export interface ErrorRow {
  readonly status: ContentfulStatusCode;
  readonly message: string;
  readonly level: "debug" | "warn" | "error";
  /** After how long asking again makes sense. */
  readonly retryAfterS?: number;
}

const ERRORS = {
  bad_request: { status: 400, message: "the request is not valid", level: "debug" },
  bad_protocol: { status: 400, message: "protocol version 1 is required", level: "warn" },
  unauthorized: { status: 401, message: "a valid bearer token is required", level: "debug" },
  forbidden: {
    status: 403,
    message: "the token is not for this node, or its role is too low",
    level: "warn",
  },
  blocked: { status: 403, message: "this node is blocked here", level: "warn" },
  reenroll_refused: {
    status: 403,
    message: "the node is known; it has to come with its own credentials (registry.reenroll)",
    level: "warn",
  },
  not_found: { status: 404, message: "no such resource", level: "debug" },
  unknown_node: { status: 404, message: "no such node", level: "debug" },
  unknown_token: { status: 404, message: "no such token", level: "debug" },
  unknown_stream: { status: 404, message: "no such stream", level: "debug" },
  superseded: {
    status: 409,
    message: "a newer instance has taken this node over",
    level: "warn",
  },
  too_many_blocked: {
    status: 409,
    message: "as many nodes are blocked as may be",
    level: "warn",
  },
  contested: {
    status: 409,
    message: "two processes keep taking this node from each other",
    level: "warn",
  },
  token_exists: { status: 409, message: "there is a token of that name", level: "debug" },
  token_configured: {
    status: 409,
    message: "the token comes from the configuration, and ends when it is taken out there",
    level: "debug",
  },
  too_many_tokens: { status: 409, message: "too many valid tokens", level: "warn" },
  method_not_allowed: {
    status: 405,
    message: "this resource takes other methods, which Allow names",
    level: "debug",
  },
  too_large: { status: 413, message: "the body is too large", level: "warn" },
  too_many_failures: {
    status: 429,
    message: "too many wrong tokens from this address",
    level: "debug",
  },
  no_downloads: {
    status: 503,
    message: "no agents are offered here (agent_binaries)",
    level: "warn",
  },
  unknown_arch: {
    status: 404,
    message: "there is no agent for this processor here",
    level: "warn",
  },
  busy: { status: 503, message: "too many agents register at once", level: "debug" },
  agent_changing: { status: 503, message: "the agent is being replaced", level: "warn" },
  too_many_downloads: { status: 503, message: "too many downloads at once", level: "warn" },
  too_many_nodes: {
    status: 503,
    message: "as many nodes are known as may be (registry.agent_nodes_max)",
    level: "warn",
    retryAfterS: 30,
  },
  too_many_subscribers: { status: 503, message: "too many subscribers", level: "warn" },
  unavailable: {
    status: 503,
    message: "can't write to the database",
    level: "error",
    retryAfterS: 5,
  },
  internal: { status: 500, message: "internal error", level: "error" },
} as const satisfies Record<string, ErrorRow>;

/** The codes of the table. */
export type ErrorCode = keyof typeof ERRORS;

/** Answers with an error of the table; `detail` (public) replaces its message. */
export function fail(c: Context, code: ErrorCode, detail?: string): Response {
  const { status, message, retryAfterS }: ErrorRow = ERRORS[code];
  const body: ErrorBody = { error: { code, message: detail ?? message } };
  if (retryAfterS !== undefined) c.header("Retry-After", String(retryAfterS));
  c.set("errorCode", code);
  if (status === 401) c.header("WWW-Authenticate", 'Bearer realm="fleet"');
  return c.json(body, status);
}

/** How an error of this code is answered. */
export function errorRow(code: ErrorCode): ErrorRow {
  return ERRORS[code];
}

/** At which level an error of this code is logged. */
export function errorLevel(code: ErrorCode): ErrorRow["level"] {
  return ERRORS[code].level;
}

/** The code for something thrown in a handler. */
export function codeOfThrown(error: unknown): ErrorCode {
  const code = (error as { code?: unknown } | null)?.code;
  if (typeof code === "string" && code.startsWith("SQLITE_")) return "unavailable";
  return "internal";
}
