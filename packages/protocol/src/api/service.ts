/** The routes about the coordinator itself: health, readiness, metrics and the API's documentation. */
import { z } from "zod";
import { contract } from "./contract.ts";

/** `GET /healthz`. */
export const healthSchema = z
  .object({
    status: z.literal("ok").describe("Always `ok`."),
    version: z.string().describe("The coordinator's version."),
  })
  .meta({ id: "Health" });

/** `GET /readyz`. */
const readinessSchema = z
  .object({
    status: z.enum(["ready", "not_ready"]).describe("Whether the coordinator can do its work."),
    reason: z.string().optional().describe("Why the coordinator is not ready."),
  })
  .meta({ id: "Readiness" });

const documentSchema = z
  .looseObject({ openapi: z.string().describe("The version of OpenAPI.") })
  .meta({ id: "Document" });

const open = { method: "GET", access: "open", tag: "service" } as const;

export const serviceApi = {
  health: contract({
    ...open,
    path: "/healthz",
    summary: "Check liveness",
    responses: { 200: { description: "The coordinator is running.", schema: healthSchema } },
  }),
  readiness: contract({
    ...open,
    path: "/readyz",
    summary: "Check readiness",
    responses: {
      200: { description: "The coordinator is ready.", schema: readinessSchema },
      503: { description: "The database cannot be written.", schema: readinessSchema },
    },
  }),
  metrics: contract({
    ...open,
    path: "/metrics",
    summary: "Get metrics",
    description:
      "In the Prometheus text format, at most 1 s old. Requires an operator token if the coordinator's `http.metrics` is `viewer`.",
    errors: ["unauthorized"],
    responses: { 200: { description: "The metrics.", type: "text/plain" } },
  }),
  document: contract({
    ...open,
    path: "/openapi.json",
    summary: "Get the OpenAPI document",
    responses: { 200: { description: "An OpenAPI 3.1 document.", schema: documentSchema } },
  }),
  reference: contract({
    ...open,
    path: "/docs",
    summary: "Read the API reference",
    responses: { 200: { description: "The OpenAPI document as a web page.", type: "text/html" } },
  }),
};
