/** What people and their scripts ask for, and the coordinator's own pages. (R4, R8, T9, H4, H5) */
import {
  auditListSchema,
  blockedListSchema,
  createdTokenSchema,
  createTokenRequestSchema,
  nodeDetailSchema,
  nodeIdSchema,
  nodeListSchema,
  streamIdSchema,
  tokenListSchema,
  trackerListSchema,
  trackerViewSchema,
  trackListSchema,
  whoamiResponseSchema,
} from "@fleet/protocol";
import { z } from "zod";
import {
  auditQuery,
  blockedListQuery,
  eventsQuery,
  nodeDetailQuery,
  nodeListQuery,
  removeQuery,
  trackerListQuery,
} from "../middleware/queries.ts";
import type { Operation } from "./operation.ts";
import { documentSchema, healthSchema, readinessSchema } from "./schemas.ts";

const node = { id: nodeIdSchema.describe("The node.") };
const stream = { stream: streamIdSchema.describe("The stream.") };

const NODES = {
  "GET /api/v1/agents": {
    tag: "nodes",
    summary: "List nodes",
    description: "By id. All filters that are given must hold.",
    query: nodeListQuery,
    answers: { 200: { description: "A page of nodes.", schema: nodeListSchema } },
  },
  "GET /api/v1/agents/:id": {
    tag: "nodes",
    summary: "Get a node",
    description: "With the latest of what befell it, newest first.",
    params: node,
    query: nodeDetailQuery,
    answers: { 200: { description: "The node.", schema: nodeDetailSchema } },
    errors: ["unknown_node"],
  },
  "DELETE /api/v1/agents/:id": {
    tag: "nodes",
    summary: "Forget a node",
    description:
      "At once, whatever its state. It may come back with an enrolment token, unless its id is blocked.",
    params: node,
    query: removeQuery,
    answers: { 204: { description: "Forgotten; or blocked." } },
    errors: ["unknown_node", "too_many_blocked", "unavailable"],
  },
  "GET /api/v1/blocked-nodes": {
    tag: "nodes",
    summary: "List blocked ids",
    query: blockedListQuery,
    answers: { 200: { description: "A page of ids.", schema: blockedListSchema } },
  },
  "PUT /api/v1/blocked-nodes/:id": {
    tag: "nodes",
    summary: "Block an id",
    description: "Known or not: nobody may use it, and a node that does is forgotten and cut off.",
    params: node,
    answers: { 204: { description: "Blocked." } },
    errors: ["bad_request", "too_many_blocked", "unavailable"],
  },
  "DELETE /api/v1/blocked-nodes/:id": {
    tag: "nodes",
    summary: "Unblock an id",
    params: node,
    answers: { 204: { description: "It may be used again." } },
    errors: ["unknown_node", "unavailable"],
  },
  "GET /api/v1/events": {
    tag: "nodes",
    summary: "Follow what happens",
    description:
      "Server-sent events. `event` is the topic (`node.<id>.<event>`, `tracker.<stream>.state`, `track.<stream>`), `data` an object with `at_ms`. A reader that doesn't keep up is cut off.",
    query: eventsQuery,
    answers: { 200: { description: "The stream.", type: "text/event-stream" } },
    errors: ["too_many_subscribers"],
  },
} as const satisfies Record<string, Operation>;

const TRACKERS = {
  "GET /api/v1/trackers": {
    tag: "trackers",
    summary: "List trackers",
    description: "By stream id. All filters that are given must hold.",
    query: trackerListQuery,
    answers: { 200: { description: "A page of trackers.", schema: trackerListSchema } },
  },
  "GET /api/v1/trackers/:stream": {
    tag: "trackers",
    summary: "Get a tracker",
    params: stream,
    answers: { 200: { description: "The tracker.", schema: trackerViewSchema } },
    errors: ["unknown_stream"],
  },
  "GET /api/v1/trackers/:stream/tracks": {
    tag: "trackers",
    summary: "List the tracks of a stream",
    description: "The latest event of each track in memory, newest first.",
    params: stream,
    answers: { 200: { description: "The tracks.", schema: trackListSchema } },
    errors: ["unknown_stream"],
  },
} as const satisfies Record<string, Operation>;

const TRUST = {
  "GET /api/v1/auth/whoami": {
    tag: "access",
    summary: "Tell what a token is",
    description: "Changes nothing; nobody counts as heard by it.",
    schemes: ["enrolment", "push", "operator", "access", "refresh"],
    answers: { 200: { description: "What the token is.", schema: whoamiResponseSchema } },
  },
  "POST /api/v1/auth/rotate-key": {
    tag: "access",
    summary: "Replace the key of agents' credentials",
    description: "The key before it goes on being accepted until what it signed has expired.",
    answers: { 204: { description: "New credentials are signed with a new key." } },
  },
  "GET /api/v1/tokens": {
    tag: "access",
    summary: "List tokens",
    description: "Never the tokens themselves. Those of the configuration are among them.",
    answers: { 200: { description: "All tokens.", schema: tokenListSchema } },
  },
  "POST /api/v1/tokens": {
    tag: "access",
    summary: "Create a token",
    body: createTokenRequestSchema,
    answers: {
      201: {
        description: "Created. `secret` is shown this once.",
        schema: createdTokenSchema,
      },
    },
    errors: ["token_exists", "too_many_tokens", "unavailable"],
  },
  "DELETE /api/v1/tokens/:id": {
    tag: "access",
    summary: "Revoke a token",
    description: "At once: what is open by it ends.",
    params: { id: z.string().describe("Its `id`, as it is listed.") },
    answers: { 204: { description: "Revoked." } },
    errors: ["unknown_token", "token_configured", "unavailable"],
  },
  "GET /api/v1/audit": {
    tag: "access",
    summary: "List who did what",
    description: "Newest first.",
    query: auditQuery,
    answers: { 200: { description: "A page of entries.", schema: auditListSchema } },
  },
} as const satisfies Record<string, Operation>;

const SERVICE = {
  "GET /healthz": {
    tag: "service",
    summary: "Ask whether it runs",
    answers: { 200: { description: "It runs.", schema: healthSchema } },
  },
  "GET /readyz": {
    tag: "service",
    summary: "Ask whether it can do its work",
    answers: {
      200: { description: "Ready.", schema: readinessSchema },
      503: { description: "The database takes no writes.", schema: readinessSchema },
    },
  },
  "GET /metrics": {
    tag: "service",
    summary: "Get metrics",
    description: "In the text format of Prometheus.",
    answers: { 200: { description: "The metrics.", type: "text/plain" } },
  },
  "GET /openapi.json": {
    tag: "service",
    summary: "Get this document",
    answers: { 200: { description: "OpenAPI 3.1.", schema: documentSchema } },
  },
  "GET /docs": {
    tag: "service",
    summary: "Read this document",
    answers: { 200: { description: "A page for people.", type: "text/html" } },
  },
} as const satisfies Record<string, Operation>;

/** By method and path. */
export const OPERATOR_OPERATIONS = { ...NODES, ...TRACKERS, ...TRUST, ...SERVICE };
