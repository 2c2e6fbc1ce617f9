/** The error of a call that did not succeed, for people and for programs. */
import { errorRow, isErrorCode } from "@fleet/protocol";
import type { Reply } from "./reply.ts";

const CHECK_URL = "Check the address, and that the coordinator is running.";

/**
 * A call failed. The message names the coordinator, the problem and the next step, and contains no secret. `code` is the
 * API's error code, `unreachable` when no complete response arrived, or `malformed` when the response is not the API's.
 */
export class ApiError extends Error {
  readonly code: string;
  /** The HTTP status; undefined without a response. */
  readonly status: number | undefined;
  /** What the user can do about it. */
  readonly next: string | undefined;
  /** When the coordinator asked to try again, in ms. */
  readonly retryAfterMs: number | undefined;

  constructor(url: string, reply: Exclude<Reply<unknown>, { readonly at: "ok" }>) {
    const code = reply.at === "refused" ? reply.code : reply.at;
    const next = reply.at === "refused" ? nextStep(reply.code) : CHECK_URL;
    super(`${url} ${problemOf(reply)}${next === undefined ? "" : `. ${next}`}`);
    this.name = "ApiError";
    this.code = code;
    this.status = reply.at === "refused" ? reply.status : undefined;
    this.next = next;
    this.retryAfterMs = reply.at === "refused" ? reply.retryAfterMs : undefined;
  }
}

function nextStep(code: string): string | undefined {
  return isErrorCode(code) ? errorRow(code).next : undefined;
}

function problemOf(reply: Exclude<Reply<unknown>, { readonly at: "ok" }>): string {
  switch (reply.at) {
    case "refused":
      return `answers ${reply.status} ${reply.code}${reply.message === "" ? "" : `: ${reply.message}`}`;
    case "unreachable":
      return `cannot be reached: ${reply.reason}`;
    case "malformed":
      return `is not a Fleet coordinator, or of another version: ${reply.reason}`;
  }
}
