/** Error responses. Status and message come from the API's table of errors; an internal message never reaches a client. */
import { type ErrorBody, type ErrorCode, errorRow } from "@fleet/protocol";
import type { Context } from "hono";

/** Responds with an error of the table. `detail`, which is public, replaces the table's message. */
export function fail(c: Context, code: ErrorCode, detail?: string): Response {
  const { status, message, retryAfterS } = errorRow(code);
  const body: ErrorBody = { error: { code, message: detail ?? message } };
  if (retryAfterS !== undefined) c.header("Retry-After", String(retryAfterS));
  c.set("errorCode", code);
  if (status === 401) c.header("WWW-Authenticate", 'Bearer realm="fleet"');
  return c.json(body, status);
}

/** The code for an exception that a handler threw. */
export function codeOfThrown(error: unknown): ErrorCode {
  const code = (error as { code?: unknown } | null)?.code;
  if (typeof code === "string" && code.startsWith("SQLITE_")) return "unavailable";
  return "internal";
}
