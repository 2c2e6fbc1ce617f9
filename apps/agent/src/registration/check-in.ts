/**
 * The agent's requests to stay registered: register, heartbeat, deregister. Each returns its outcome as a value; nothing here
 * is retried, scheduled or logged. Registration decides what follows from an outcome. (A13, R6, R7, R9, H5)
 */
import type { Clock } from "@fleet/daemon";
import type { ApiClient, Reply } from "@fleet/api-client";
import {
  agentsApi,
  type FrameEndpoint,
  type InstanceId,
  type NodeId,
  type RegisterRequest,
  type RegisterResponse,
  type SensorCounters,
} from "@fleet/protocol";
import type { Identity } from "../state/identity.ts";
import { certificateProblem } from "./certificate-problem.ts";

/** The result of a registration: the node's identity to the coordinator, its token, and where its frames go. */
export interface Grant {
  readonly nodeId: NodeId;
  readonly instanceId: InstanceId;
  readonly epoch: number;
  readonly accessToken: string;
  readonly frames: FrameEndpoint;
}

/** A refusal as the coordinator worded it. */
type Refusal = Omit<Extract<Reply<never>, { at: "refused" }>, "at">;

/** The outcome of a check-in that did not succeed. */
export type CheckInFailure =
  /** An operator has blocked the node. */
  | ({ readonly at: "blocked" } & Refusal)
  /** No token was accepted (401, 403). */
  | ({ readonly at: "token_refused" } & Refusal)
  /** The request was refused for another reason (4xx). */
  | ({ readonly at: "request_refused" } & Refusal)
  /** The coordinator can't serve anybody, or not this often (5xx, 429). */
  | ({ readonly at: "unavailable" } & Refusal)
  /** There was no answer, or none that this version can read. */
  | { readonly at: "unreachable"; readonly reason: string };

/** The outcome of one check-in. */
export type CheckIn =
  | {
      readonly at: "registered";
      readonly grant: Grant;
      readonly heartbeatMs: number;
      /** How long the access token is valid from now on; not positive when the clocks disagree. */
      readonly lifetimeMs: number;
      readonly refreshToken: string;
    }
  /** A heartbeat was accepted. */
  | { readonly at: "heartbeat_ok" }
  /** A heartbeat was answered with the demand to register, or the grant is not valid any more (401, 404). */
  | { readonly at: "reregister" }
  /** Another process speaks for this node. `message` is the coordinator's. */
  | { readonly at: "superseded"; readonly message: string }
  | CheckInFailure;

/** What check-ins need. */
export interface CheckInOptions {
  readonly client: ApiClient;
  readonly clock: Clock;
  readonly identity: Identity;
  /** The enrolment tokens to try, in order, when the refresh token is absent or refused. Called for each register: files rotate. */
  readonly enrollTokens: () => readonly string[];
  readonly counters: () => Record<string, SensorCounters>;
}

/** Codes of a 409: a newer process speaks for this node, or one of two that kept taking it from each other. (R9) */
const SUPERSEDED: ReadonlySet<string> = new Set(["superseded", "contested"]);
const BAD_ANSWER = {
  at: "unreachable",
  reason: "the answer has a form that this version can't read",
} as const;

/** Registers with each token in turn until one is accepted; without any token, registers without one. */
export async function register(
  { client, clock, identity, enrollTokens }: CheckInOptions,
  request: RegisterRequest,
): Promise<Exclude<CheckIn, { at: "heartbeat_ok" | "reregister" }>> {
  const tokens = [identity.refreshToken, ...enrollTokens()].filter((t) => t !== undefined);
  let reply: Reply<RegisterResponse> = BAD_ANSWER;
  for (const token of tokens.length === 0 ? [undefined] : tokens) {
    reply = await client.attempt(agentsApi.register, { body: request }, { token });
    if (!(reply.at === "refused" && (isWrongToken(reply) || reply.status === 403))) break;
  }
  if (reply.at !== "ok") return failureOf(reply);
  const answer = reply.body;
  if (answer.node_id !== identity.nodeId) return BAD_ANSWER;
  return {
    at: "registered",
    grant: {
      nodeId: answer.node_id,
      instanceId: request.instance_id as InstanceId,
      epoch: answer.epoch,
      accessToken: answer.access_token,
      frames: answer.frames,
    },
    heartbeatMs: answer.heartbeat_interval_ms,
    lifetimeMs: answer.access_expires_ms - (reply.serverDateMs ?? clock.nowMs()),
    refreshToken: answer.refresh_token,
  };
}

/** Sends one heartbeat with the counters. */
export async function heartbeat(
  { client, counters }: CheckInOptions,
  grant: Grant,
): Promise<Exclude<CheckIn, { at: "registered" }>> {
  const reply = await client.attempt(agentsApi.heartbeat, signOf(grant, counters()), {
    token: grant.accessToken,
  });
  if (reply.at === "ok") return { at: reply.body.reregister ? "reregister" : "heartbeat_ok" };
  const isInvalid = reply.at === "refused" && (isWrongToken(reply) || reply.status === 404);
  return isInvalid ? { at: "reregister" } : failureOf(reply);
}

/** Tells the coordinator that the agent ends, with its last counters. */
export function deregister(
  { client, counters }: CheckInOptions,
  grant: Grant,
  timeoutMs: number,
): Promise<Reply<undefined>> {
  return client.attempt(agentsApi.deregister, signOf(grant, counters()), {
    token: grant.accessToken,
    timeoutMs,
  });
}

function signOf(grant: Grant, counters: Record<string, SensorCounters>) {
  const { nodeId, instanceId, epoch } = grant;
  return { params: { id: nodeId }, body: { instance_id: instanceId, epoch, counters } };
}

/** A log message for a failure: what failed, and what to do about it if anything. */
export function failureMessage(failure: CheckInFailure): string {
  switch (failure.at) {
    case "unreachable": {
      const problem = certificateProblem(failure.reason);
      if (problem === undefined) return `cannot reach the coordinator: ${failure.reason}; retrying`;
      return `the coordinator's certificate ${problem.found}. ${problem.remedy}`;
    }
    case "blocked":
      return "an operator has blocked this node; retrying until it is unblocked";
    case "token_refused":
      return `the coordinator refuses our token (${codeOf(failure)}); check the enrolment token; retrying`;
    case "request_refused":
      return `the coordinator refuses our request (${codeOf(failure)}); retrying`;
    case "unavailable":
      return `the coordinator cannot serve us now (${codeOf(failure)}); retrying`;
  }
}

function failureOf(
  reply: Exclude<Reply<unknown>, { at: "ok" }>,
): CheckInFailure | Extract<CheckIn, { at: "superseded" }> {
  if (reply.at === "malformed") return BAD_ANSWER;
  if (reply.at === "unreachable") return { at: "unreachable", reason: reply.reason };
  const { status, code, message } = reply;
  if (status === 409 && SUPERSEDED.has(code)) return { at: "superseded", message };
  if (code === "blocked") return { ...reply, at: "blocked" };
  if (status === 401 || status === 403) return { ...reply, at: "token_refused" };
  return { ...reply, at: status >= 500 || status === 429 ? "unavailable" : "request_refused" };
}

/** 401, or what replaces it when too many wrong tokens came from our address: another of our tokens may be right. */
function isWrongToken(reply: Extract<Reply<unknown>, { at: "refused" }>): boolean {
  return reply.status === 401 || reply.code === "too_many_failures";
}

function codeOf({ status, code }: Refusal): string {
  return `${status} ${code}`;
}
