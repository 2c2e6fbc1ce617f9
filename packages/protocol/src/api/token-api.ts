/** `/api/v1/tokens` and `/api/v1/audit`: the shared tokens, which a machine or a person is given, and who did what. (H5) */
import { z } from "zod";

const NAMES_MAX = 32;
/** Ten years: nobody plans further, and the moment stays far inside what integers hold. */
const TTL_MS_MAX = 3_653 * 86_400_000;

/** What a shared token is for: enrolling agents, pushing frames without an agent, operating. */
export const sharedTokenKindSchema = z.enum(["enroll", "push", "operator"]);
export type SharedTokenKind = z.infer<typeof sharedTokenKindSchema>;

/** What a person or script may do: look; steer as well; and decide who else may. Each includes those before it. */
export const roleSchema = z.enum(["viewer", "operator", "admin"]);
export type Role = z.infer<typeof roleSchema>;

/** What a token is called. No colon, which marks those that come from the configuration. */
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

/** `POST tokens`. Without `nodes` or `groups` it is for all of them, without `expires_in_ms` for good. */
export const createTokenRequestSchema = z
  .strictObject({
    name: tokenNameSchema,
    kind: sharedTokenKindSchema,
    role: roleSchema.optional(),
    nodes: z.array(nodePattern).max(NAMES_MAX).default([]),
    groups: z.array(z.string().min(1).max(256)).max(NAMES_MAX).default([]),
    expires_in_ms: z.int().min(1).max(TTL_MS_MAX).optional(),
  })
  .refine((t) => (t.kind === "operator") === (t.role !== undefined), {
    message: "must be there for operator tokens, and for no others",
    path: ["role"],
  })
  .refine((t) => t.kind !== "operator" || (t.nodes.length === 0 && t.groups.length === 0), {
    message: "nodes and groups are for tokens that enrol or push",
    path: ["kind"],
  });
export type CreateTokenRequest = z.input<typeof createTokenRequestSchema>;
export type NewToken = z.output<typeof createTokenRequestSchema>;

/** A token as it is listed; never the token itself. Those of the configuration have their name for an id and no times. */
export const tokenViewSchema = z.object({
  id: z.string(),
  name: z.string(),
  kind: sharedTokenKindSchema,
  state: z.enum(["VALID", "EXPIRED", "REVOKED"]),
  role: roleSchema.nullable(),
  nodes: z.array(z.string()),
  groups: z.array(z.string()),
  created_at: z.int().nullable(),
  created_by: z.string().nullable(),
  expires_at: z.int().nullable(),
  revoked_at: z.int().nullable(),
  /** To the minute. */
  last_used_at: z.int().nullable(),
});
export type TokenView = z.infer<typeof tokenViewSchema>;

/** `GET tokens`. */
export const tokenListSchema = z.object({ tokens: z.array(tokenViewSchema) });
export type TokenList = z.infer<typeof tokenListSchema>;

/** The answer to `POST tokens`: the only time the token itself is shown. */
export const createdTokenSchema = z.object({ token: tokenViewSchema, secret: z.string() });
export type CreatedToken = z.infer<typeof createdTokenSchema>;

/** One thing somebody did, or was refused. `outcome` is `ok` or an error code. */
export const auditEntrySchema = z.object({
  id: z.int(),
  at: z.int(),
  /** The name of the token that was shown. */
  actor: z.string(),
  /** Where it came from; null when the connection had gone by then. */
  address: z.string().nullable(),
  action: z.string(),
  /** The node, token or stream it was about. */
  subject: z.string().nullable(),
  outcome: z.string(),
});
export type AuditEntry = z.infer<typeof auditEntrySchema>;

/** `GET audit`: newest first. */
export const auditListSchema = z.object({
  entries: z.array(auditEntrySchema),
  next_cursor: z.int().optional(),
});
export type AuditList = z.infer<typeof auditListSchema>;
