/** Parses what a request carries: its bearer token, path parameters, query and JSON body. */
import type { Contract } from "@fleet/protocol";
import type { Context } from "hono";
import { z } from "zod";

/** A parsed value, or what is wrong with it and where. */
export type Parsed<T> =
  | { readonly ok: true; readonly data: T }
  | { readonly ok: false; readonly detail: string };

/** What a handler receives, as its contract types it. */
export interface Input<C extends Contract> {
  readonly params: C extends {
    readonly params: infer P extends Readonly<Record<string, z.ZodType>>;
  }
    ? { readonly [K in keyof P]: z.output<P[K]> }
    : undefined;
  readonly query: C extends { readonly query: infer Q extends z.ZodObject }
    ? z.output<Q>
    : undefined;
  readonly body: C extends { readonly body: infer B extends z.ZodType } ? z.output<B> : undefined;
}

const ISSUES_MAX = 10;
/** The most characters of a parser's message, which may quote the body. */
const PARSER_MESSAGE_MAX = 100;

/**
 * Parses a JSON body (RFC 8259), whatever its Content-Type. Of a repeated key the last one counts. The detail lists up to ten
 * problems with their paths.
 */
export async function parseBody<S extends z.ZodType>(
  c: Context,
  schema: S,
): Promise<Parsed<z.output<S>>> {
  const bytes = await c.req.arrayBuffer();
  if (bytes.byteLength === 0) return { ok: false, detail: "the body is empty; it must be JSON" };
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
    return { ok: false, detail: `the body is not JSON: ${why.slice(0, PARSER_MESSAGE_MAX)}` };
  }
  return parseValue(schema, value);
}

/** Parses the query. The detail names the parameter and the allowed ones. */
export function parseQuery<S extends z.ZodObject>(c: Context, schema: S): Parsed<z.output<S>> {
  const names = Object.keys(schema.shape);
  const values: Record<string, string | readonly string[]> = {};
  for (const [name, given] of Object.entries(c.req.queries())) {
    if (!names.includes(name))
      return { ok: false, detail: `${name}: unknown parameter; known are ${names.join(", ")}` };
    const isList = isRepeated(schema.shape[name]);
    if (!isList && given.length > 1) return { ok: false, detail: `${name}: must not be repeated` };
    values[name] = isList ? given : given[0]!;
  }
  return parseValue(schema, values);
}

/** Parses a value, such as the path's parameters. */
export function parseValue<S extends z.ZodType>(schema: S, value: unknown): Parsed<z.output<S>> {
  const result = schema.safeParse(value);
  if (result.success) return { ok: true, data: result.data };
  const detail = result.error.issues
    .slice(0, ISSUES_MAX)
    .map((i) => `${i.path.join(".") || "body"}: ${i.message}`)
    .join("; ");
  return { ok: false, detail };
}

function isRepeated(schema: unknown): boolean {
  return schema instanceof z.ZodDefault && schema.unwrap() instanceof z.ZodArray;
}

/** The request's bearer token (RFC 6750). */
export function bearerToken(c: Context): string | undefined {
  return /^Bearer +(\S+)$/i.exec(c.req.header("Authorization") ?? "")?.[1];
}
