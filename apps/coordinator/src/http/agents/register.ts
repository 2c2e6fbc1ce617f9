/**
 * `POST /api/v1/agents/register`: lets an agent in, with an enrolment token or with the refresh token it was given before,
 * and gives it credentials of its own. (R1, R6, R9, H5)
 */
import type { Log } from "@fleet/daemon";
import {
  type InstanceId,
  type NodeId,
  PROTOCOL_VERSION,
  registerRequestSchema,
  type RegisterResponse,
  type Registration,
} from "@fleet/protocol";
import type { Context } from "hono";
import type { z } from "zod";
import type { Auth } from "../../auth/auth.ts";
import type { RefreshClaims } from "../../auth/credentials.ts";
import { isTokenFor, type Token } from "../../auth/tokens.ts";
import type { NodeRow, RegisterOutcome } from "../../registry/node.ts";
import type { Registry } from "../../registry/registry.ts";
import type { RegisterLimiter } from "./register-limiter.ts";
import { bearerToken, parseBody } from "../middleware/body.ts";
import { fail } from "../middleware/errors.ts";
import { frameEndpoint, type Frames } from "./frame-endpoint.ts";
import type { AppEnv } from "../server.ts";

/** What the route works with. */
export interface RegisterDeps {
  readonly registry: Registry;
  readonly auth: Auth;
  readonly log: Log;
  readonly registerLimiter: RegisterLimiter;
  readonly heartbeatIntervalMs: number;
  readonly frames: Frames;
  /** Whether an enrolment token alone takes over a node that is known. */
  readonly reenroll: boolean;
}

/** What an agent comes with: its own refresh token, or one that lets anybody in. */
type Proof =
  | { readonly at: "refresh"; readonly groups: readonly string[] }
  | { readonly at: "enrolment"; readonly groups: readonly string[]; readonly token: Token };

/** Handles the route. What came in by an enrolment token is audited. */
export async function register(deps: RegisterDeps, c: Context<AppEnv>): Promise<Response> {
  const shown = bearerToken(c);
  const own = shown === undefined ? undefined : await deps.auth.credentials.verifyRefresh(shown);
  if (own === undefined && deps.auth.tokens.find("enroll", shown) === undefined)
    return fail(c, "unauthorized");
  return inTurn(deps, c, registerRequestSchema, (request) => letIn(deps, c, request, shown, own));
}

/**
 * Reads the body of a register and lets it be handled, or tells when there will be room for it. Room is taken when the body
 * is there: who sends it slowly keeps nobody out.
 */
export async function inTurn<S extends z.ZodType>(
  { registerLimiter }: Pick<RegisterDeps, "registerLimiter">,
  c: Context<AppEnv>,
  schema: S,
  handle: (request: z.output<S>) => Promise<Response>,
): Promise<Response> {
  const later = registerLimiter.turnAway();
  if (later !== undefined) return busy(c, later.retryAfterS);
  const body = await parseBody(c, schema);
  if (!body.ok) return fail(c, "bad_request", body.detail);
  const outcome = await registerLimiter.admit(() => handle(body.data));
  return outcome instanceof Response ? outcome : busy(c, outcome.retryAfterS);
}

function busy(c: Context<AppEnv>, retryAfterS: number): Response {
  c.header("Retry-After", String(retryAfterS));
  return fail(c, "busy");
}

async function letIn(
  deps: RegisterDeps,
  c: Context<AppEnv>,
  request: Registration,
  shown: string | undefined,
  own: RefreshClaims | undefined,
): Promise<Response> {
  const { node_id: id, instance_id: instance } = request;
  // The body may have been long in coming, and the token have ended.
  const token = deps.auth.tokens.find("enroll", shown);
  const proof = proofOf(deps.registry, request, own, token);
  if (proof === undefined) {
    // Who shows what once was the node's own token is told more.
    const barred = own?.nodeId === id ? deps.registry.barred(id, instance) : undefined;
    return fail(c, barred ?? "unauthorized");
  }
  if (proof.at === "refresh") return admit(deps, c, request, proof);
  const before = deps.registry.get(id)?.row;
  const response = await admit(deps, c, request, proof);
  deps.auth.audit.recordSoon({
    actor: proof.token.name,
    address: c.env.peer(),
    action: "POST /api/v1/agents/register",
    subject: id,
    outcome: c.get("errorCode") ?? wayIn(before, instance),
  });
  return response;
}

/**
 * What coming with an enrolment token means for a node whose row was `before`. Who comes `again` is the instance that is
 * registered: it may have missed the answer.
 */
function wayIn(before: NodeRow | undefined, instance: InstanceId): "ok" | "again" | "reenrolled" {
  if (before?.kind !== "agent") return "ok";
  return before.instanceId === instance ? "again" : "reenrolled";
}

function proofOf(
  registry: Registry,
  { node_id: id }: Registration,
  own: RefreshClaims | undefined,
  token: Token | undefined,
): Proof | undefined {
  if (own?.nodeId === id && registry.honours(id, own.epoch))
    return { at: "refresh", groups: own.groups };
  return token && { at: "enrolment", groups: token.groups, token };
}

async function admit(
  deps: RegisterDeps,
  c: Context<AppEnv>,
  request: Registration,
  proof: Proof,
): Promise<Response> {
  const { registry, auth, log } = deps;
  const group = request.group ?? null;
  // What an enrolment was limited to, its credentials stay limited to.
  const isGroup = proof.groups.length === 0 || (group !== null && proof.groups.includes(group));
  const before = registry.get(request.node_id)?.row;
  if (!isGroup || !isFor(proof, request.node_id, group, before))
    return fail(c, "forbidden", "the enrolment token is not for this node or its group");
  const isReenrolled = wayIn(before, request.instance_id) === "reenrolled";
  if (proof.at === "enrolment" && isReenrolled && !deps.reenroll)
    return fail(c, "reenroll_refused");
  const outcome = await registry.registerSoon(request, proof.at);
  if (outcome.at !== "registered") return refuse(c, outcome);
  const claims = {
    nodeId: request.node_id,
    instanceId: request.instance_id,
    epoch: outcome.epoch,
  };
  const credentials = await auth.credentials.issue(claims, proof.groups);
  const by = proof.at === "refresh" ? "its own token" : proof.token.name;
  log.info({ ...claims, created: outcome.created, by }, "node registered");
  const answer: RegisterResponse = {
    node_id: request.node_id,
    epoch: outcome.epoch,
    access_token: credentials.accessToken,
    access_expires_ms: credentials.accessExpiresMs,
    refresh_token: credentials.refreshToken,
    heartbeat_interval_ms: deps.heartbeatIntervalMs,
    events_url: `/api/v1/agents/${request.node_id}/events`,
    frames: frameEndpoint(deps.frames, c),
    protocol: PROTOCOL_VERSION,
  };
  return c.json(answer);
}

/** A node that is known has to be in a group of the token's, too, not only to say that it will be; one without an agent may be in none. */
function isFor(
  proof: Proof,
  id: NodeId,
  group: string | null,
  before: NodeRow | undefined,
): boolean {
  if (proof.at === "refresh") return true;
  const isFree = before === undefined || (before.kind === "plain" && before.group === null);
  const groups = isFree ? [group] : [group, before.group];
  return groups.every((one) => isTokenFor(proof.token, id, one));
}

/** Says why the registry did not let an agent in. */
export function refuse(
  c: Context,
  outcome: Exclude<RegisterOutcome, { readonly at: "registered" }>,
): Response {
  if (outcome.at === "contested") return fail(c, "contested", contestedBy(outcome.by));
  if (outcome.at === "busy") c.header("Retry-After", "1");
  return fail(c, outcome.at);
}

/** For the operator of the one that has to stay out. */
function contestedBy(host: string | undefined): string {
  return `two processes keep taking this node from each other, and it stays with the one on ${host ?? "another host"}; if this is another node, give it a name and an empty state directory of its own`;
}
