/** The names of schemas in the API's document. Whatever is a body or an answer of JSON has one. (H4) */
import {
  agentInfoSchema,
  auditListSchema,
  blockedListSchema,
  createdTokenSchema,
  createTokenRequestSchema,
  deregisterRequestSchema,
  errorBodySchema,
  frameEndpointSchema,
  heartbeatRequestSchema,
  heartbeatResponseSchema,
  nodeDetailSchema,
  nodeEventSchema,
  nodeListSchema,
  nodeViewSchema,
  registerRequestSchema,
  registerResponseSchema,
  registerUrlRequestSchema,
  registerUrlResponseSchema,
  runtimeSchema,
  sensorCountersSchema,
  sensorInfoSchema,
  tokenListSchema,
  tokenViewSchema,
  trackerListSchema,
  trackerViewSchema,
  trackListSchema,
  whoamiResponseSchema,
} from "@fleet/protocol";
import { z } from "zod";
import { wordsFor } from "./words.ts";

/** `GET /healthz`. */
export const healthSchema = z.object({ status: z.literal("ok"), version: z.string() });
/** `GET /readyz`; `reason` where it is not ready. */
export const readinessSchema = z.object({
  status: z.enum(["ready", "not_ready"]),
  reason: z.string().optional(),
});
/** `GET /openapi.json`. */
export const documentSchema = z.looseObject({ openapi: z.string() });

const NAMES: Readonly<Record<string, z.ZodType>> = {
  AgentInfo: agentInfoSchema,
  AuditList: auditListSchema,
  BlockedList: blockedListSchema,
  CreatedToken: createdTokenSchema,
  CreateToken: createTokenRequestSchema,
  Deregister: deregisterRequestSchema,
  Document: documentSchema,
  Error: errorBodySchema,
  FrameEndpoint: frameEndpointSchema,
  Health: healthSchema,
  Heartbeat: heartbeatRequestSchema,
  HeartbeatAnswer: heartbeatResponseSchema,
  Node: nodeViewSchema,
  NodeDetail: nodeDetailSchema,
  NodeEvent: nodeEventSchema,
  NodeList: nodeListSchema,
  Readiness: readinessSchema,
  Register: registerRequestSchema,
  Registered: registerResponseSchema,
  RegisteredUrl: registerUrlResponseSchema,
  RegisterUrl: registerUrlRequestSchema,
  Runtime: runtimeSchema,
  Sensor: sensorInfoSchema,
  SensorCounters: sensorCountersSchema,
  Token: tokenViewSchema,
  TokenList: tokenListSchema,
  Tracker: trackerViewSchema,
  TrackerList: trackerListSchema,
  TrackList: trackListSchema,
  Whoami: whoamiResponseSchema,
};

const PREFIX = "#/components/schemas/";
const registry = z.registry<{ id: string }>();
for (const [id, schema] of Object.entries(NAMES)) registry.add(schema, { id });

/** JSON Schema (draft 2020-12), as OpenAPI 3.1 takes it. */
export type JsonSchema = z.core.JSONSchema.BaseSchema;

/** All of them, by name. */
export function namedSchemas(): Record<string, JsonSchema> {
  const { schemas } = z.toJSONSchema(registry, {
    io: "input",
    uri: (id) => `${PREFIX}${id}`,
    override: tidy,
  });
  for (const [name, schema] of Object.entries(schemas)) {
    delete schema.$schema;
    delete schema.$id;
    describe(name, schema);
  }
  return schemas;
}

/** Puts words to the fields of a schema, and of what is in it. */
function describe(name: string, schema: unknown): void {
  if (typeof schema !== "object" || schema === null) return;
  const { properties } = schema as { readonly properties?: Record<string, JsonSchema> };
  for (const [field, property] of Object.entries(properties ?? {})) {
    const words = wordsFor(name, field);
    if (words !== undefined) property.description = words;
  }
  for (const part of Object.values(schema)) describe(name, part);
}

/** Points to a schema by its name. Throws when it has none. */
export function refTo(schema: z.ZodType): { readonly $ref: string } {
  const name = registry.get(schema)?.id;
  if (name === undefined) throw new Error("a body or an answer has a schema without a name");
  return { $ref: `${PREFIX}${name}` };
}

/** A schema that stands where it is used: of parameters. */
export function inlineSchema(schema: z.ZodType): JsonSchema {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: "input", override: tidy });
  return rest;
}

/** That an integer fits into a double, and that a key is a string, need not be said. */
function tidy({ jsonSchema }: { readonly jsonSchema: JsonSchema }): void {
  if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
  if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
  const names = jsonSchema.propertyNames;
  if (typeof names === "object" && names.type === "string" && Object.keys(names).length === 1)
    delete jsonSchema.propertyNames;
}
