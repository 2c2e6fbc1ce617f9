/** The routes for access: shared tokens, the audit log, the key that signs agents' credentials, and whoami. (A9, H5) */
import { z } from "zod";
import { nodeIdSchema } from "../ids.ts";
import { frameEndpointSchema } from "./agents.ts";
import { contract, roleSchema } from "./contract.ts";
import { limit, numericCursor } from "./fields.ts";

const NAMES_MAX = 32;
/** Ten years: enough for any plan, and far below the largest timestamp. */
const TTL_MS_MAX = 3_653 * 86_400_000;

/** What a shared token is for. */
export const sharedTokenKindSchema = z
  .enum(["enroll", "push", "operator"])
  .describe(
    "`enroll` registers agents, `push` sends frames without an agent, `operator` uses the operators' API.",
  );
export type SharedTokenKind = z.infer<typeof sharedTokenKindSchema>;

/** A token's name. It has no colon, which marks tokens of the configuration. */
export const tokenNameSchema = z
  .string()
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/,
    "must be 1–64 letters, digits, '_', '.' or '-', and begin with a letter or digit",
  );

const nodePattern = z
  .string()
  .regex(
    /^[A-Za-z0-9_*?-]{1,64}$/,
    "must be a node id, in which * stands for any characters and ? for one",
  );

const NODES =
  "The nodes that the token is limited to: ids, in which `*` matches any characters and `?` matches one. Empty: any node.";
const GROUPS = "The groups that the token is limited to. Empty: any group.";

/** `POST tokens`. */
export const createTokenRequestSchema = z
  .strictObject({
    name: tokenNameSchema.describe("The token's name, unique among all tokens."),
    kind: sharedTokenKindSchema,
    role: roleSchema
      .optional()
      .describe("The role of an operator token, which requires one. Other kinds have none."),
    nodes: z.array(nodePattern).max(NAMES_MAX).default([]).describe(NODES),
    groups: z.array(z.string().min(1).max(256)).max(NAMES_MAX).default([]).describe(GROUPS),
    expires_in_ms: z
      .int()
      .min(1)
      .max(TTL_MS_MAX)
      .optional()
      .describe("The time until the token expires, in ms. Without it the token never expires."),
  })
  .refine((t) => (t.kind === "operator") === (t.role !== undefined), {
    message: "is required for operator tokens and not allowed for others",
    path: ["role"],
  })
  .refine((t) => t.kind !== "operator" || (t.nodes.length === 0 && t.groups.length === 0), {
    message: "nodes and groups apply only to tokens that enrol or push",
    path: ["kind"],
  })
  .meta({ id: "CreateToken" });
export type CreateTokenRequest = z.input<typeof createTokenRequestSchema>;
export type NewToken = z.output<typeof createTokenRequestSchema>;

/** A token without its secret. Tokens of the configuration have their name as id and no times. */
export const tokenViewSchema = z
  .object({
    id: z.string().describe("The token's id, which paths use."),
    name: z.string().describe("The token's name."),
    kind: sharedTokenKindSchema,
    state: z.enum(["VALID", "EXPIRED", "REVOKED"]).describe("Whether the token is accepted."),
    role: roleSchema.nullable().describe("The role of an operator token; null for other kinds."),
    nodes: z.array(z.string()).describe(NODES),
    groups: z.array(z.string()).describe(GROUPS),
    created_at: z
      .int()
      .nullable()
      .describe("When the token was created, in Unix ms; null for tokens of the configuration."),
    created_by: z
      .string()
      .nullable()
      .describe("The name of the token that created it; null for tokens of the configuration."),
    expires_at: z
      .int()
      .nullable()
      .describe("When the token expires, in Unix ms; null if it never expires."),
    revoked_at: z
      .int()
      .nullable()
      .describe("When the token was revoked, in Unix ms; null if it was not."),
    last_used_at: z
      .int()
      .nullable()
      .describe("When the token was last used, in Unix ms rounded down to the minute."),
  })
  .meta({ id: "Token" });
export type TokenView = z.infer<typeof tokenViewSchema>;

/** `GET tokens`. */
export const tokenListSchema = z
  .object({
    tokens: z
      .array(tokenViewSchema)
      .describe("The tokens of the configuration, then created tokens from oldest to newest."),
  })
  .meta({ id: "TokenList" });
export type TokenList = z.infer<typeof tokenListSchema>;

/** The response to `POST tokens`, the only one that contains the secret. */
export const createdTokenSchema = z
  .object({
    token: tokenViewSchema.describe("The token, without its secret."),
    secret: z.string().describe("The token itself. It cannot be retrieved again."),
  })
  .meta({ id: "CreatedToken" });
export type CreatedToken = z.infer<typeof createdTokenSchema>;

/** One action, or attempted action, in the audit log. */
export const auditEntrySchema = z.object({
  id: z.int().describe("The entry's number. Increases with each entry."),
  at: z.int().describe("When it happened, in Unix ms."),
  actor: z.string().describe("The name of the token that was used."),
  address: z
    .string()
    .nullable()
    .describe("The client's address; null if the connection had closed by then."),
  action: z.string().describe("The method and path of the request."),
  subject: z.string().nullable().describe("The node, token or stream that it concerned."),
  outcome: z.string().describe("`ok`, `again` or `reenrolled` for a success; else the error code."),
});
export type AuditEntry = z.infer<typeof auditEntrySchema>;

/** `GET audit`: newest first. */
export const auditListSchema = z
  .object({
    entries: z.array(auditEntrySchema).describe("Entries, newest first."),
    next_cursor: z
      .int()
      .optional()
      .describe("Pass it as `cursor` to get the next page. Absent on the last page."),
  })
  .meta({ id: "AuditList" });
export type AuditList = z.infer<typeof auditListSchema>;

/** What a bearer token is for: a shared kind, or one of a node's own two. */
export const tokenKindSchema = z.enum(["enroll", "push", "operator", "access", "refresh"]);
export type TokenKind = z.infer<typeof tokenKindSchema>;

/** What a token is, as `fleet-agent doctor` asks. (A9) */
export const whoamiResponseSchema = z
  .object({
    kind: tokenKindSchema.describe("The token's kind."),
    node_id: nodeIdSchema
      .optional()
      .describe("The node that an access or refresh token belongs to."),
    name: z.string().optional().describe("The name of a shared token."),
    role: roleSchema.optional().describe("The role of an operator token."),
    protocol: z.int().describe("The protocol version that the coordinator speaks."),
    version: z.string().max(256).describe("The coordinator's version."),
    server_time_ms: z.int().describe("The coordinator's time, in Unix ms."),
    frames: frameEndpointSchema.describe("The frame port, where agents open their sessions."),
  })
  .meta({ id: "Whoami" });
export type WhoamiResponse = z.infer<typeof whoamiResponseSchema>;

const forAdmins = { access: "admin", tag: "access" } as const;

export const accessApi = {
  whoami: contract({
    method: "GET",
    path: "/api/v1/auth/whoami",
    access: "any",
    tag: "access",
    summary: "Describe a token",
    description: "Describes the bearer token. Changes nothing: the node does not count as heard.",
    responses: {
      200: { description: "The token's kind and scope.", schema: whoamiResponseSchema },
    },
  }),
  rotateKey: contract({
    ...forAdmins,
    method: "POST",
    path: "/api/v1/auth/rotate-key",
    summary: "Rotate the signing key",
    description:
      "Signs agents' credentials with a new key. Credentials signed with the previous key remain valid until they expire.",
    responses: { 204: { description: "A new key is in use." } },
  }),
  listTokens: contract({
    ...forAdmins,
    method: "GET",
    path: "/api/v1/tokens",
    summary: "List tokens",
    description: "Includes the tokens of the configuration, and never a secret.",
    responses: { 200: { description: "All tokens.", schema: tokenListSchema } },
  }),
  createToken: contract({
    ...forAdmins,
    method: "POST",
    path: "/api/v1/tokens",
    summary: "Create a token",
    body: createTokenRequestSchema,
    responses: {
      201: {
        description: "The token. Only this response contains its secret.",
        schema: createdTokenSchema,
      },
    },
    errors: ["token_exists", "too_many_tokens", "unavailable"],
  }),
  revokeToken: contract({
    ...forAdmins,
    method: "DELETE",
    path: "/api/v1/tokens/:id",
    summary: "Revoke a token",
    description: "Takes effect at once: open streams and sessions that use the token end.",
    params: { id: z.string().describe("The token's `id`.") },
    badParam: "unknown_token",
    responses: { 204: { description: "The token is revoked." } },
    errors: ["token_configured", "unavailable"],
  }),
  audit: contract({
    ...forAdmins,
    method: "GET",
    path: "/api/v1/audit",
    summary: "Read the audit log",
    description: "Newest first.",
    query: z.object({ limit, cursor: numericCursor }),
    responses: { 200: { description: "A page of entries.", schema: auditListSchema } },
  }),
};
