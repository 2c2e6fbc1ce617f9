/**
 * What routes take in their query. The one schema checks a request and describes it in the API's document, so every parameter
 * has its words here. A parameter that may be given several times is an array. (R8, H4)
 */
import { nodeClassSchema, nodeIdSchema, nodeStateSchema, streamIdSchema } from "@fleet/protocol";
import type { Context } from "hono";
import { z } from "zod";
import { AGENT_ARCHES, type AgentArch } from "../../downloads/agent-binaries.ts";
import { NODE_EVENTS_MAX } from "../../registry/node-store.ts";
import { check, type Parsed } from "./body.ts";

const PAGE_MAX = 1000;
const HISTORY_DEFAULT = 20;
/** How often a parameter may be given. */
const REPEATED_MAX = 16;
const TEXT_MAX = 256;

const limit = z.coerce
  .number()
  .int()
  .min(1)
  .max(PAGE_MAX)
  .default(PAGE_MAX)
  .describe("How many there are on a page at most.");

/** Where a page ends. Clients pass it on as they got it: what is in it is ours to change. */
export function cursorAfter(id: string): string {
  return Buffer.from(id).toString("base64url");
}

function cursorOf<S extends z.ZodType<string>>(ids: S) {
  return z
    .string()
    .max(TEXT_MAX)
    .transform((text, context): z.output<S> => {
      const id = ids.safeParse(Buffer.from(text, "base64url").toString());
      if (id.success && cursorAfter(id.data) === text) return id.data;
      context.addIssue("must be the next_cursor of an earlier page");
      return z.NEVER;
    })
    .optional()
    .describe("The `next_cursor` of the page before. Without it, the first page.");
}

const q = z
  .string()
  .min(1)
  .max(TEXT_MAX)
  .optional()
  .describe("Text in the id or the name, in whatever case.");

/** `GET agents`: what is given must all hold. */
export const nodeListQuery = z.object({
  status: z
    .array(nodeStateSchema)
    .max(REPEATED_MAX)
    .default([])
    .describe("The state. Given several times: any of them."),
  kind: z.enum(["agent", "plain"]).optional().describe("With an agent, or without one."),
  class: nodeClassSchema.optional().describe("How long the node is remembered."),
  group: z.string().max(TEXT_MAX).optional().describe("The group the node says it is in."),
  label: z
    .array(z.string().regex(/^[^=]+=.*$/, "must be NAME=VALUE"))
    .max(REPEATED_MAX)
    .default([])
    .describe("A label, as NAME=VALUE. Given several times: all of them."),
  runtime: z
    .string()
    .max(TEXT_MAX)
    .regex(/^[^@]+(@.+)?$/, "must be NAME or NAME@RANGE")
    .optional()
    .describe(
      "A runtime it offers, as `python`, or with a range of versions, as `python@>=3.9,<4`.",
    ),
  q,
  limit,
  cursor: cursorOf(nodeIdSchema),
});
export type NodeListQuery = z.output<typeof nodeListQuery>;

/** `GET agents/{id}`. */
export const nodeDetailQuery = z.object({
  history: z.coerce
    .number()
    .int()
    .min(0)
    .max(NODE_EVENTS_MAX)
    .default(HISTORY_DEFAULT)
    .describe("How much of what befell the node is told."),
});

/** `DELETE agents/{id}`. */
export const removeQuery = z.object({
  block: z
    .enum(["true", "false"])
    .optional()
    .describe("`true` bars the id as well: nobody may use it until it is unblocked."),
});

/** `GET blocked-nodes`. */
export const blockedListQuery = z.object({ limit, cursor: cursorOf(nodeIdSchema) });

/** `GET trackers`: what is given must all hold. */
export const trackerListQuery = z.object({
  state: z
    .array(z.enum(["STOPPED", "STARTING", "RUNNING", "OUTAGE", "BACKOFF", "STOPPING"]))
    .max(REPEATED_MAX)
    .default([])
    .describe("The state. Given several times: any of them."),
  node_id: nodeIdSchema.optional().describe("The node whose streams these are."),
  mode: z.enum(["tcp", "http"]).optional().describe("How the frames come: pushed, or fetched."),
  limit,
  cursor: cursorOf(streamIdSchema),
});
export type TrackerListQuery = z.output<typeof trackerListQuery>;

/** `GET audit`. */
export const auditQuery = z.object({
  limit,
  cursor: z.coerce
    .number()
    .int()
    .min(1)
    .optional()
    .describe("The `next_cursor` of the page before. Without it, the first page."),
});

/** `GET events`. */
export const eventsQuery = z.object({
  topic: z
    .string()
    .max(TEXT_MAX)
    .regex(/^[A-Za-z0-9_*:>-]+(\.[A-Za-z0-9_*:>-]+)*$/, "not a topic pattern")
    .default(">")
    .describe("Which topics: `*` stands for one part, a last `>` for the rest."),
});

/** What Debian and Docker call processors. */
const ARCH_ALIASES: Readonly<Record<string, AgentArch>> = { amd64: "x86_64", arm64: "aarch64" };
const ARCH_PROBLEM = `must be one of ${AGENT_ARCHES.join(", ")} (or ${Object.keys(ARCH_ALIASES).join(", ")})`;

/** `GET agent/binary`. */
export const binaryQuery = z.object({
  arch: z
    .enum([...AGENT_ARCHES, ...Object.keys(ARCH_ALIASES)], ARCH_PROBLEM)
    .transform((name) => ARCH_ALIASES[name] ?? (name as AgentArch))
    .describe("The processor, under either of its names."),
});

/** Checks the query of a request; what is wrong names the parameter and what may be there. */
export function parseQuery<S extends z.ZodObject>(c: Context, schema: S): Parsed<z.output<S>> {
  const names = Object.keys(schema.shape);
  const values: Record<string, string | readonly string[]> = {};
  for (const [name, given] of Object.entries(c.req.queries())) {
    if (!names.includes(name))
      return { ok: false, detail: `${name}: no such parameter; there are ${names.join(", ")}` };
    const isList = isRepeated(schema.shape[name]);
    if (!isList && given.length > 1) return { ok: false, detail: `${name}: given more than once` };
    values[name] = isList ? given : given[0]!;
  }
  return check(schema, values);
}

/** Whether a parameter may be given several times. */
export function isRepeated(schema: unknown): boolean {
  return schema instanceof z.ZodDefault && schema.unwrap() instanceof z.ZodArray;
}
