/** Request bodies and bearer tokens, parsed at the edge. */
import type { Context } from "hono";
import type { z } from "zod";

/** A parsed body, or what is wrong with it and where. */
export type Parsed<T> =
  | { readonly ok: true; readonly data: T }
  | { readonly ok: false; readonly detail: string };

const ISSUES_MAX = 10;
/** Characters of what the parser says, which may quote the body. */
const WHY_MAX = 100;

/**
 * Reads and checks a JSON body (RFC 8259), whatever its Content-Type; of a key that comes twice the last counts. The detail
 * lists up to ten problems with their paths.
 */
export async function parseBody<S extends z.ZodType>(
  c: Context,
  schema: S,
): Promise<Parsed<z.output<S>>> {
  const bytes = await c.req.arrayBuffer();
  if (bytes.byteLength === 0) return { ok: false, detail: "the body is empty, and must be JSON" };
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return { ok: false, detail: "the body is not UTF-8" };
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const why = (error as Error).message.replace(/^JSON Parse error: /, "");
    return { ok: false, detail: `the body is not JSON: ${why.slice(0, WHY_MAX)}` };
  }
  return check(schema, value);
}

/** Checks a value, such as the query's parameters. */
export function check<S extends z.ZodType>(schema: S, value: unknown): Parsed<z.output<S>> {
  const result = schema.safeParse(value);
  if (result.success) return { ok: true, data: result.data };
  const detail = result.error.issues
    .slice(0, ISSUES_MAX)
    .map((i) => `${i.path.join(".") || "body"}: ${i.message}`)
    .join("; ");
  return { ok: false, detail };
}

/** The bearer token of the request (RFC 6750), or undefined. */
export function bearerToken(c: Context): string | undefined {
  return /^Bearer +(\S+)$/i.exec(c.req.header("Authorization") ?? "")?.[1];
}
