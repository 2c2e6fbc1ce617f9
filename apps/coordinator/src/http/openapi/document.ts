/**
 * The API's OpenAPI 3.1 document, derived from the contracts: their schemas, access and errors. Made when it is first
 * requested. (H4)
 */
import {
  type Access,
  type Contract,
  CONTRACTS,
  type ErrorCode,
  errorBodySchema,
  errorRow,
  needsProtocolHeader,
  PROTOCOL_HEADER,
  PROTOCOL_VERSION,
  type ResponseContract,
  type Role,
  type Tag,
  TAGS,
  TOKEN_HEADER,
} from "@fleet/protocol";
import type { z } from "zod";
import { inlineSchema, type JsonSchema, namedSchemas, refTo } from "./schemas.ts";

interface Content {
  readonly [type: string]: {
    readonly schema?: JsonSchema;
    readonly examples?: Readonly<Record<string, { readonly value: unknown }>>;
  };
}

/** A parameter of a path, a query or a header. */
export interface Parameter {
  readonly name: string;
  readonly in: "path" | "query" | "header";
  readonly required: boolean;
  readonly description?: string;
  readonly schema: JsonSchema;
}

/** A response in the document. */
export interface DocumentedResponse {
  readonly description: string;
  readonly headers?: Readonly<Record<string, unknown>>;
  readonly content?: Content;
}

/** A route in the document. */
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
  readonly responses: Readonly<Record<string, DocumentedResponse>>;
}

/** The document. */
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

const bearer = (description: string) => ({ type: "http", scheme: "bearer", description }) as const;

const SECURITY_SCHEMES = {
  enrolment: bearer("An enrolment token, which registers agents."),
  enrolmentHeader: {
    type: "apiKey",
    in: "header",
    name: TOKEN_HEADER,
    description: "An enrolment token.",
  },
  push: bearer("A push token, which sends frames without an agent."),
  access: bearer("An agent's access token, a JWT that is valid for one hour."),
  refresh: bearer("An agent's refresh token, a JWT that is valid for seven days."),
  operator: bearer(
    "An operator token of the named role or of one above it: viewer, operator, admin.",
  ),
} as const;
type Scheme = keyof typeof SECURITY_SCHEMES;

/** The schemes that open a route which needs no role. */
const SCHEMES: Readonly<Record<Exclude<Access, Role>, readonly Scheme[]>> = {
  open: [],
  agent: ["access"],
  registration: ["enrolment", "refresh"],
  enrolment: ["enrolment"],
  download: ["enrolmentHeader", "operator"],
  any: ["enrolment", "push", "operator", "access", "refresh"],
};

/** Makes the document. `version` is the coordinator's. */
export function openApiDocument(version: string): OpenApiDocument {
  const paths: Record<string, Record<string, DocumentedOperation>> = {};
  for (const contract of CONTRACTS) {
    const path = contract.path.replaceAll(/:(\w+)/g, "{$1}");
    paths[path] ??= {};
    paths[path][contract.method.toLowerCase()] = documented(contract);
  }
  return {
    openapi: "3.1.1",
    info: {
      title: "Fleet coordinator",
      version,
      description:
        "Manages the nodes of a fleet, receives their frames and runs a tracker for each frame stream. Names are snake_case, times integer ms.",
      license: { name: "MIT", identifier: "MIT" },
    },
    servers: [{ url: "/" }],
    tags: Object.entries(TAGS).map(([name, description]) => ({ name: name as Tag, description })),
    paths,
    components: { schemas: namedSchemas(), securitySchemes: SECURITY_SCHEMES },
  };
}

function documented(contract: Contract): DocumentedOperation {
  const { tag, summary, description } = contract;
  const responses: Record<string, DocumentedResponse> = {};
  for (const [status, response] of Object.entries(contract.responses))
    responses[status] = regularResponse(response);
  const errors = Map.groupBy(errorsOf(contract), (code) => String(errorRow(code).status));
  for (const [status, codes] of errors)
    responses[status] = { ...errorResponse(codes), ...responses[status] };
  const body = requestBody(contract);
  return {
    operationId: inCamelCase(summary),
    tags: [tag],
    summary,
    ...(description === undefined ? {} : { description }),
    security: securityOf(contract.access),
    parameters: parametersOf(contract),
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

function securityOf(access: Access): DocumentedOperation["security"] {
  if (isRole(access)) return [{ operator: [access] }];
  return SCHEMES[access].map((scheme) => ({ [scheme]: scheme === "operator" ? ["viewer"] : [] }));
}

function parametersOf({ params = {}, query, access }: Contract): Parameter[] {
  const header: Parameter = {
    name: PROTOCOL_HEADER,
    in: "header",
    required: true,
    description: "The protocol version that the agent speaks.",
    schema: { const: String(PROTOCOL_VERSION) },
  };
  return [
    ...Object.entries(params).map(([name, schema]) => parameter(name, "path", schema)),
    ...Object.entries(query?.shape ?? {}).map(([name, schema]) =>
      parameter(name, "query", schema as z.ZodType),
    ),
    ...(needsProtocolHeader(access) ? [header] : []),
  ];
}

function parameter(name: string, where: "path" | "query", zodSchema: z.ZodType): Parameter {
  const { description, ...schema } = inlineSchema(zodSchema);
  const required = !zodSchema.safeParse(undefined).success;
  return {
    name,
    in: where,
    required,
    ...(description === undefined ? {} : { description }),
    schema,
  };
}

function requestBody({ body, textBody }: Contract): DocumentedOperation["requestBody"] {
  if (body !== undefined)
    return { required: true, content: { "application/json": { schema: refTo(body) } } };
  if (textBody === undefined) return undefined;
  const content = { "text/plain": { schema: { type: "string" } } } as const;
  return { description: textBody, required: false, content };
}

function regularResponse({
  description,
  schema,
  type,
  headers,
}: ResponseContract): DocumentedResponse {
  const content: Content = {
    ...(schema === undefined ? {} : { "application/json": { schema: refTo(schema) } }),
    ...(type === undefined ? {} : { [type]: {} }),
  };
  return {
    description,
    ...(headers === undefined ? {} : { headers: documentedHeaders(headers) }),
    ...(Object.keys(content).length === 0 ? {} : { content }),
  };
}

function documentedHeaders(headers: Readonly<Record<string, string>>): Record<string, unknown> {
  const entries = Object.entries(headers);
  return Object.fromEntries(
    entries.map(([name, description]) => [name, { description, schema: { type: "string" } }]),
  );
}

/** The errors that follow from a route's access and input, and those that its contract lists. */
function errorsOf({ access, query, body, textBody, params, badParam, errors = [] }: Contract) {
  const codes: ErrorCode[] = [];
  if (query !== undefined || body !== undefined) codes.push("bad_request");
  if (needsProtocolHeader(access)) codes.push("bad_protocol");
  if (access !== "open") codes.push("unauthorized", "too_many_failures");
  if (isRole(access)) codes.push("forbidden");
  if (params !== undefined) codes.push(badParam ?? "bad_request");
  codes.push(...errors);
  if (body !== undefined || textBody !== undefined) codes.push("too_large");
  return [...new Set(codes), "internal" as const];
}

/** An error response, with an example for each of its codes. */
function errorResponse(codes: readonly ErrorCode[]): DocumentedResponse {
  const examples = codes.map((code) => {
    const { message } = errorRow(code);
    return [code, { value: { error: { code, message } } }] as const;
  });
  const hasRetryAfter = codes.some(
    (code) => errorRow(code).retryAfterS !== undefined || code === "too_many_failures",
  );
  const retryAfter = { "Retry-After": "The number of seconds after which to try again." };
  return {
    description: codes.map(describeError).join(" "),
    ...(hasRetryAfter ? { headers: documentedHeaders(retryAfter) } : {}),
    content: {
      "application/json": {
        schema: refTo(errorBodySchema),
        examples: Object.fromEntries(examples),
      },
    },
  };
}

function describeError(code: ErrorCode): string {
  const { message, next } = errorRow(code);
  return `\`${code}\`: ${message}.${next === undefined ? "" : ` ${next}`}`;
}
