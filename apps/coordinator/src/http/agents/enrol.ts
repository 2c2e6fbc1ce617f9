/**
 * The one path of a registration, for both of its forms: throttle, apply the enrolment policy, store the node, audit. (R1,
 * R6, A13, H5)
 */
import type { Log } from "@fleet/daemon";
import type { Context } from "hono";
import type { Auth } from "../../auth/auth.ts";
import type { AddressPolicy } from "../../net/address-policy.ts";
import { decideEnrolment, type EnrolmentProof } from "../../registry/enrolment/policy.ts";
import type { AgentRegistration, NodeRow, RegisterOutcome } from "../../registry/node.ts";
import type { Registry } from "../../registry/registry.ts";
import { fail } from "../middleware/errors.ts";
import type { AppEnv } from "../server.ts";
import type { Frames } from "./frame-endpoint.ts";
import type { RegisterLimiter } from "./register-limiter.ts";

/** What registrations need. */
export interface RegisterDeps {
  readonly registry: Registry;
  readonly auth: Auth;
  readonly log: Log;
  readonly registerLimiter: RegisterLimiter;
  readonly heartbeatIntervalMs: number;
  readonly frames: Frames;
  /** Whether an enrolment token alone may take over a known node. */
  readonly reenroll: boolean;
  /** Judges the URL that an agent registers. */
  readonly addresses: AddressPolicy;
}

type Registered = Extract<RegisterOutcome, { readonly at: "registered" }>;

/** Refuses a registration before its body is read, while too many are in progress. */
export function refuseEarly(
  { registerLimiter }: RegisterDeps,
  c: Context<AppEnv>,
): Response | undefined {
  const retryAfterS = registerLimiter.retryAfterS();
  return retryAfterS === undefined ? undefined : busy(c, retryAfterS);
}

/**
 * Runs `work` unless too many registrations are in progress. Called when the body is complete: a slow client keeps nobody
 * out.
 */
export async function throttled<T extends object>(
  { registerLimiter }: RegisterDeps,
  c: Context<AppEnv>,
  work: () => Promise<T>,
): Promise<T | Response> {
  const outcome = await registerLimiter.run(work);
  return "retryAfterS" in outcome ? busy(c, outcome.retryAfterS) : outcome;
}

function busy(c: Context<AppEnv>, retryAfterS: number): Response {
  c.header("Retry-After", String(retryAfterS));
  return fail(c, "busy");
}

/**
 * Registers the agent, or responds with the reason why not. `previous` is the node's row. What an enrolment token achieved or
 * was refused is audited; `auditRepeats: false` leaves out known instances, for clients that register in place of heartbeats.
 */
export async function enrol(
  deps: RegisterDeps,
  c: Context<AppEnv>,
  { registration, proof, previous, action, auditRepeats }: Enrolment,
): Promise<Registered | Response> {
  const { registry, auth } = deps;
  const address = c.env.peer();
  const { agent_url: url } = registration;
  const problem = url === undefined ? undefined : deps.addresses.problemOf(url, address);
  if (problem !== undefined) return fail(c, "bad_request", problem);
  const decision = decideEnrolment(proof, registration, previous, deps.reenroll);
  const result =
    decision === "forbidden" || decision === "reenroll_refused"
      ? fail(c, decision, decision === "forbidden" ? OUT_OF_SCOPE : undefined)
      : await store(registry, c, registration, proof);
  const isRepeat = decision === "again" && !(result instanceof Response);
  if (proof.at === "enrolment" && (auditRepeats || !isRepeat))
    auth.audit.recordSoon({
      actor: proof.token.name,
      address,
      action,
      subject: registration.node_id,
      outcome: c.get("errorCode") ?? decision,
    });
  return result;
}

/** A registration with all that the decision depends on. */
export interface Enrolment {
  readonly registration: AgentRegistration;
  readonly proof: EnrolmentProof;
  readonly previous: NodeRow | undefined;
  /** The audit log's name for the request. */
  readonly action: string;
  readonly auditRepeats: boolean;
}

const OUT_OF_SCOPE = "the enrolment token is not for this node or its group";

async function store(
  registry: Registry,
  c: Context<AppEnv>,
  registration: AgentRegistration,
  proof: EnrolmentProof,
): Promise<Registered | Response> {
  const outcome = await registry.register(registration, proof.at);
  if (outcome.at === "registered") return outcome;
  if (outcome.at === "contested") return fail(c, "contested", contestedBy(outcome.by));
  if (outcome.at === "busy") c.header("Retry-After", "1");
  return fail(c, outcome.at);
}

/** The message for the operator of the agent that is refused. */
function contestedBy(host: string | undefined): string {
  return `two processes keep taking over this node from each other; it stays with the one on ${host ?? "another host"}. If this is a different node, give it its own name and an empty state directory`;
}
