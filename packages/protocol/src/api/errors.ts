/** The API's errors: the one table of their codes, statuses and public texts. Codes never change their meaning. */
import { z } from "zod";

/** The body of every error response. */
export const errorBodySchema = z
  .object({
    error: z
      .object({
        code: z.string().describe("Identifies the error, for programs. Codes never change."),
        message: z.string().describe("Explains the error, for people. The wording may change."),
      })
      .describe("The error."),
  })
  .meta({ id: "Error" });
export type ErrorBody = z.infer<typeof errorBodySchema>;

/** One kind of error. */
export interface ErrorRow {
  readonly status: 400 | 401 | 403 | 404 | 405 | 409 | 413 | 429 | 500 | 503;
  /** The public message when the handler has no better one. */
  readonly message: string;
  /** What an operator can do about it. */
  readonly next?: string;
  /** The value of `Retry-After`, in seconds. */
  readonly retryAfterS?: number;
}

const ERRORS = {
  bad_request: { status: 400, message: "the request is not valid" },
  bad_protocol: {
    status: 400,
    message: "protocol version 1 is required",
    next: "Update the older of agent and coordinator.",
  },
  unauthorized: {
    status: 401,
    message: "a valid bearer token is required",
    next: "Use a token that has neither expired nor been revoked.",
  },
  forbidden: {
    status: 403,
    message: "the token is not for this node, or its role is too low",
    next: "Use a token with a higher role or a wider scope.",
  },
  blocked: {
    status: 403,
    message: "this node is blocked",
    next: "Unblock it with DELETE /api/v1/blocked-nodes/{id}.",
  },
  reenroll_refused: {
    status: 403,
    message: "the node is known and must register with its own refresh token (registry.reenroll)",
    next: "Restore the agent's state directory, or remove the node with DELETE /api/v1/agents/{id}.",
  },
  not_found: { status: 404, message: "no such resource" },
  unknown_node: { status: 404, message: "no such node" },
  unknown_token: { status: 404, message: "no such token" },
  unknown_stream: { status: 404, message: "no such stream" },
  unknown_arch: { status: 404, message: "no agent is available for this processor" },
  method_not_allowed: {
    status: 405,
    message: "this resource does not support this method; the Allow header lists those it supports",
  },
  superseded: { status: 409, message: "a newer instance of this node has registered" },
  contested: {
    status: 409,
    message: "two processes keep taking over this node from each other",
    next: "Give each agent a node id and a state directory of its own.",
  },
  too_many_blocked: {
    status: 409,
    message: "the list of blocked nodes is full",
    next: "Unblock ids that are no longer in use.",
  },
  token_exists: { status: 409, message: "a token with this name already exists" },
  token_configured: {
    status: 409,
    message: "the token is part of the configuration and cannot be revoked",
    next: "Remove it from the configuration and restart the coordinator.",
  },
  too_many_tokens: {
    status: 409,
    message: "too many valid tokens",
    next: "Revoke tokens that are no longer in use.",
  },
  too_large: { status: 413, message: "the body is too large" },
  too_many_failures: {
    status: 429,
    message: "too many invalid tokens from this address",
    next: "Wait for the time in Retry-After, then use a valid token.",
  },
  no_downloads: {
    status: 503,
    message: "this coordinator offers no agent downloads (agent_binaries)",
    next: "Set agent_binaries to the directory that holds the agents.",
  },
  busy: { status: 503, message: "too many agents are registering at once" },
  agent_changing: { status: 503, message: "the agent binary is being replaced" },
  too_many_downloads: { status: 503, message: "too many downloads at once" },
  too_many_nodes: {
    status: 503,
    message: "the maximum number of nodes is known (registry.agent_nodes_max)",
    next: "Remove nodes that are gone, or raise registry.agent_nodes_max.",
    retryAfterS: 30,
  },
  too_many_subscribers: { status: 503, message: "too many subscribers" },
  unavailable: {
    status: 503,
    message: "the database cannot be written",
    next: "Check the disk that holds the data directory.",
    retryAfterS: 5,
  },
  internal: { status: 500, message: "internal error", next: "Read the coordinator's log." },
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof ERRORS;

/** The table's row for a code. */
export function errorRow(code: ErrorCode): ErrorRow {
  return ERRORS[code];
}

/** Whether a code is one of the table's; a newer coordinator may have others. */
export function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(ERRORS, code);
}
