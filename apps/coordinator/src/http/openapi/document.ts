/**
 * The API's document, OpenAPI 3.1, made from the tables that the routes are held against: who may use them (access.ts), their
 * errors (errors.ts) and the schemas that check them. Loaded and made when it is first asked for. (H4, DESIGN §8)
 */
import { errorBodySchema, PROTOCOL_HEADER, PROTOCOL_VERSION, type Role } from "@fleet/protocol";
import type { z } from "zod";
import { type Access, ACCESS, type Route } from "../middleware/access.ts";
import { type ErrorCode, errorRow } from "../middleware/errors.ts";
import { TOKEN_HEADER } from "../middleware/guard.ts";
import { AGENT_OPERATIONS } from "./agent-operations.ts";
import { type Answer, type Operation, type Scheme, type Tag, TAGS } from "./operation.ts";
import { OPERATOR_OPERATIONS } from "./operator-operations.ts";
import { inlineSchema, type JsonSchema, namedSchemas, refTo } from "./schemas.ts";

/** A schema, or where it is. */
export type SchemaOrRef = JsonSchema;

interface Content {
  readonly [type: string]: {
    readonly schema?: SchemaOrRef;
    readonly examples?: Readonly<Record<string, { readonly value: unknown }>>;
  };
}

/** A parameter of a path, a query or a header. */
export interface Parameter {
  readonly name: string;
  readonly in: "path" | "query" | "header";
  readonly required: boolean;
  readonly description?: string;
  readonly schema: SchemaOrRef;
}

/** An answer, as the document has it. */
export interface DocumentedAnswer {
  readonly description: string;
  readonly headers?: Readonly<Record<string, unknown>>;
  readonly content?: Content;
}

/** A route, as the document has it. */
export interface DocumentedOperation {
  readonly operationId: string;
  readonly tags: readonly Tag[];
  readonly summary: string;
  readonly description?: string;
  readonly security: readonly Readonly<Record<string, readonly string[]>>[];
  readonly parameters: readonly Parameter[];
  readonly requestBody?: {
    readonly description?: string;
    readonly required: boolean;
    readonly content: Content;
  };
  readonly responses: Readonly<Record<string, DocumentedAnswer>>;
}

/** The whole. */
export interface OpenApiDocument {
  readonly openapi: string;
  readonly info: Readonly<Record<string, unknown>>;
  readonly servers: readonly { readonly url: string }[];
  readonly tags: readonly { readonly name: Tag; readonly description: string }[];
  readonly paths: Readonly<Record<string, Readonly<Record<string, DocumentedOperation>>>>;
  readonly components: {
    readonly schemas: Readonly<Record<string, JsonSchema>>;
    readonly securitySchemes: typeof SECURITY_SCHEMES;
  };
}

/** A route that has no line here does not compile. */
const OPERATIONS: Readonly<Record<Route, Operation>> = {
  ...AGENT_OPERATIONS,
  ...OPERATOR_OPERATIONS,
};

const bearer = (description: string) => ({ type: "http", scheme: "bearer", description }) as const;

const SECURITY_SCHEMES = {
  enrolment: bearer("An enrolment token: it lets nodes register."),
  enrolmentHeader: {
    type: "apiKey",
    in: "header",
    name: TOKEN_HEADER,
    description: "An enrolment token.",
  },
  push: bearer("A push token: it sends frames without an agent."),
  access: bearer("An agent's access token (JWT), which lasts an hour."),
  refresh: bearer("An agent's refresh token (JWT), which lasts seven days."),
  operator: bearer(
    "An operator token of the role that is named, or of one above it: viewer, operator, admin.",
  ),
} as const satisfies Record<Scheme, Readonly<Record<string, string>>>;

/** Makes it. `version` is the coordinator's. */
export function openApiDocument(version: string): OpenApiDocument {
  const paths: Record<string, Record<string, DocumentedOperation>> = {};
  for (const [route, operation] of Object.entries(OPERATIONS)) {
    const [method = "", path = ""] = route.split(" ");
    const named = path.replaceAll(/:(\w+)/g, "{$1}");
    paths[named] ??= {};
    paths[named][method.toLowerCase()] = documented(operation, ACCESS[route as Route]);
  }
  return {
    openapi: "3.1.1",
    info: {
      title: "Fleet coordinator",
      version,
      description:
        "Knows the fleet's nodes, takes their frames and runs a tracker for each stream. JSON is snake_case, times are integer ms.",
      license: { name: "MIT", identifier: "MIT" },
    },
    servers: [{ url: "/" }],
    tags: Object.entries(TAGS).map(([name, description]) => ({ name: name as Tag, description })),
    paths,
    components: { schemas: namedSchemas(), securitySchemes: SECURITY_SCHEMES },
  };
}

function documented(operation: Operation, access: Access): DocumentedOperation {
  const { tag, summary, description, answers } = operation;
  const responses: Record<string, DocumentedAnswer> = {};
  for (const [status, answer] of Object.entries(answers)) responses[status] = answered(answer);
  for (const [status, codes] of byStatus(errorsOf(operation, access)))
    responses[status] = { ...failed(codes), ...responses[status] };
  const body = requestBody(operation);
  return {
    operationId: inCamelCase(summary),
    tags: [tag],
    summary,
    ...(description === undefined ? {} : { description }),
    security: securityOf(operation, access),
    parameters: parametersOf(operation, access),
    ...(body === undefined ? {} : { requestBody: body }),
    responses,
  };
}

function inCamelCase(summary: string): string {
  return summary
    .replaceAll(/[^A-Za-z ]/g, "")
    .split(" ")
    .map((word, at) => (at === 0 ? word.toLowerCase() : word.at(0)!.toUpperCase() + word.slice(1)))
    .join("");
}

function isRole(access: Access): access is Role {
  return access === "viewer" || access === "operator" || access === "admin";
}

function securityOf({ schemes = [] }: Operation, access: Access) {
  if (isRole(access)) return [{ operator: [access] }];
  return schemes.map((scheme) => ({ [scheme]: scheme === "operator" ? ["viewer"] : [] }));
}

function parametersOf({ params = {}, query }: Operation, access: Access): Parameter[] {
  const parameters = Object.entries(params).map(([name, schema]) =>
    parameter(name, "path", schema),
  );
  for (const [name, schema] of Object.entries(query?.shape ?? {}))
    parameters.push(parameter(name, "query", schema as z.ZodType));
  if (access === "node")
    parameters.push({
      name: PROTOCOL_HEADER,
      in: "header",
      required: true,
      description: "The version of the protocol that is spoken.",
      schema: { const: String(PROTOCOL_VERSION) },
    });
  return parameters;
}

function parameter(name: string, where: "path" | "query", checker: z.ZodType): Parameter {
  const { description, ...schema } = inlineSchema(checker);
  const words = description === undefined ? {} : { description };
  const required = !checker.safeParse(undefined).success;
  return { name, in: where, required, ...words, schema };
}

function requestBody({ body, textBody }: Operation): DocumentedOperation["requestBody"] {
  if (body !== undefined)
    return { required: true, content: { "application/json": { schema: refTo(body) } } };
  if (textBody === undefined) return undefined;
  const content = { "text/plain": { schema: { type: "string" } } } as const;
  return { description: textBody, required: false, content };
}

function answered({ description, schema, type, headers }: Answer): DocumentedAnswer {
  const content: Content = {
    ...(schema === undefined ? {} : { "application/json": { schema: refTo(schema) } }),
    ...(type === undefined ? {} : { [type]: {} }),
  };
  return {
    description,
    ...(headers === undefined ? {} : { headers: describedHeaders(headers) }),
    ...(Object.keys(content).length === 0 ? {} : { content }),
  };
}

function describedHeaders(headers: Readonly<Record<string, string>>): Record<string, unknown> {
  const entries = Object.entries(headers);
  return Object.fromEntries(
    entries.map(([name, description]) => [name, { description, schema: { type: "string" } }]),
  );
}

/** What may go wrong, from what a route is, and what it says of itself. */
function errorsOf(operation: Operation, access: Access): ErrorCode[] {
  const { query, body, textBody, errors = [] } = operation;
  const codes: ErrorCode[] = [];
  if (query !== undefined || body !== undefined) codes.push("bad_request");
  if (access === "node") codes.push("bad_protocol");
  if (access !== "open") codes.push("unauthorized", "too_many_failures");
  if (isRole(access)) codes.push("forbidden");
  codes.push(...errors);
  if (body !== undefined || textBody !== undefined) codes.push("too_large");
  return [...new Set(codes), "internal"];
}

function byStatus(codes: readonly ErrorCode[]): Map<string, ErrorCode[]> {
  return Map.groupBy(codes, (code) => String(errorRow(code).status));
}

/** An error, with an example for each of its codes. */
function failed(codes: readonly ErrorCode[]): DocumentedAnswer {
  const examples = codes.map((code) => {
    const { message } = errorRow(code);
    return [code, { value: { error: { code, message } } }] as const;
  });
  const retries = codes.filter((code) => errorRow(code).retryAfterS !== undefined);
  const retryAfter = { "Retry-After": "Seconds until it makes sense to ask again." };
  return {
    description: codes.map((code) => `\`${code}\`: ${errorRow(code).message}.`).join(" "),
    ...(retries.length === 0 && !codes.includes("too_many_failures")
      ? {}
      : { headers: describedHeaders(retryAfter) }),
    content: {
      "application/json": {
        schema: refTo(errorBodySchema),
        examples: Object.fromEntries(examples),
      },
    },
  };
}
