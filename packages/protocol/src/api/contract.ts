/**
 * The contract of an HTTP route: its method, path, access, schemas and description, in one object. The coordinator's router,
 * access table and OpenAPI document and the typed client in packages/api-client all derive from it. (H4, H5)
 */
import { z } from "zod";
import type { ErrorCode } from "./errors.ts";

/**
 * What the holder of an operator token may do: read; send commands; manage nodes and tokens. Each role includes the previous
 * one.
 */
export const roleSchema = z
  .enum(["viewer", "operator", "admin"])
  .describe("What the holder of an operator token may do. Each role includes the previous one.");
export type Role = z.infer<typeof roleSchema>;

/**
 * Which token opens a route. A role: an operator token of at least that role. `open`: none. `agent`: the access token of the
 * node in the path. `registration`: an enrolment token or a node's refresh token. `enrolment`: an enrolment token.
 * `download`: an enrolment token or an operator token. `any`: a valid token of any kind.
 */
export type Access = "open" | "agent" | "registration" | "enrolment" | "download" | "any" | Role;

/** A successful response. */
export interface ResponseContract {
  readonly description: string;
  /** The schema of a JSON body. It must have an `id` (`.meta({ id })`), its name in the OpenAPI document. */
  readonly schema?: z.ZodType;
  /** The media type of a body that is not JSON. */
  readonly type?: string;
  /** Response headers: name → description. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** The groups in which the OpenAPI document lists routes. */
export const TAGS = {
  agents: "Requests that agents make for themselves.",
  nodes: "The nodes of the fleet, for operators.",
  trackers: "The trackers, one for each frame stream, and their tracks.",
  events: "What happens in the fleet, as it happens.",
  access: "Tokens, signing keys and the audit log.",
  downloads: "Agent binaries and the installer.",
  service: "The coordinator itself.",
} as const;
export type Tag = keyof typeof TAGS;

/** One route. The errors that follow from its access, query and body need not be listed. */
export interface Contract {
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  /** Parameters are written `:name`. */
  readonly path: `/${string}`;
  readonly access: Access;
  readonly tag: Tag;
  /** A phrase that begins with a verb. In camel case it is the `operationId`. */
  readonly summary: string;
  readonly description?: string;
  readonly params?: Readonly<Record<string, z.ZodType>>;
  /** The error when a path parameter does not match its schema. Default: `bad_request`. */
  readonly badParam?: ErrorCode;
  readonly query?: z.ZodObject;
  /** The schema of a JSON body, with an `id`. */
  readonly body?: z.ZodType;
  /** Describes an optional body of plain text. */
  readonly textBody?: string;
  /** By status; the first is the regular one. */
  readonly responses: Readonly<Record<number, ResponseContract>>;
  readonly errors?: readonly ErrorCode[];
}

/** Declares a contract with its literal types, from which handlers and clients are typed. */
export function contract<const C extends Contract>(route: C): C {
  return route;
}

/** A contract's name: `METHOD /path`. */
export function routeOf({
  method,
  path,
}: {
  readonly method: string;
  readonly path: string;
}): string {
  return `${method} ${path}`;
}

/** Whether requests must carry the PROTOCOL_HEADER: those of agents that speak the whole protocol. */
export function needsProtocolHeader(access: Access): boolean {
  return access === "agent" || access === "registration";
}

type FirstSchema<R> = R extends { readonly 200: infer A }
  ? A
  : R extends { readonly 201: infer A }
    ? A
    : undefined;

/** The schema of the regular response's JSON body; `undefined` when there is no JSON body. */
export type SchemaOf<C extends Contract> =
  FirstSchema<C["responses"]> extends { readonly schema: infer S extends z.ZodType }
    ? S
    : undefined;

type FirstType<R> = R extends { readonly 200: { readonly type: string } } ? string : undefined;

/** What a client receives: the JSON of the regular response, its text when it is not JSON, `undefined` when it has no body. */
export type ResponseOf<C extends Contract> =
  SchemaOf<C> extends infer S extends z.ZodType ? z.output<S> : FirstType<C["responses"]>;

/** What a client sends. */
export type RequestOf<C extends Contract> = (C extends {
  readonly params: infer P extends Readonly<Record<string, z.ZodType>>;
}
  ? { readonly params: { readonly [K in keyof P]: z.input<P[K]> } }
  : unknown) &
  (C extends { readonly query: infer Q extends z.ZodObject }
    ? { readonly query?: Partial<z.input<Q>> }
    : unknown) &
  (C extends { readonly body: infer B extends z.ZodType }
    ? { readonly body: z.input<B> }
    : unknown);
