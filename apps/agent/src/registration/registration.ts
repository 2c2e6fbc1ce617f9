/**
 * Keeps the agent registered: registers, checks in every heartbeat interval, registers again when told to or when its token
 * is about to expire, and goes on trying for ever whatever happened to the coordinator. (A13, A14, R6, R7, R9, H5)
 *
 *   unregistered → registered (register) | superseded (409)
 *   registered   → registered (heartbeat, register) | superseded (409)
 *                | unregistered (401, 404, told to, about to expire, something to announce)
 *   any          → stopped
 *
 * One request is under way at a time. While the coordinator can't be reached the state stays as it is.
 */
import {
  backoffMs,
  type BackoffOptions,
  type Clock,
  type Log,
  LogLimiter,
  type Random,
  type Service,
  type Timer,
  withDeadline,
} from "@fleet/daemon";
import {
  heartbeatResponseSchema,
  type RegisterRequest,
  type RegisterResponse,
  registerResponseSchema,
  type SensorCounters,
} from "@fleet/protocol";
import { certificateProblem } from "./certificate-problem.ts";
import type { CoordinatorClient, Reply } from "./coordinator-client.ts";
import type { Grant } from "./grant.ts";
import { heartbeatSlot } from "./heartbeat-slot.ts";
import type { Identity } from "../state/identity.ts";

/** Where the agent stands with the coordinator. Times are monotonic ms. */
export type RegistrationState =
  | { readonly at: "unregistered" }
  | { readonly at: "registered"; readonly heartbeatMs: number; readonly renewAtMs: number }
  | { readonly at: "superseded" }
  | { readonly at: "stopped" };

/** What registration needs; `request` is what the agent says of itself, asked for anew each time. */
export interface RegistrationOptions {
  readonly client: CoordinatorClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly identity: Identity;
  readonly request: () => RegisterRequest;
  /** The enrolment tokens to try, in order, when the refresh token is absent or refused. Read anew each time, since files rotate. */
  readonly enrollTokens: () => readonly string[];
  readonly counters: () => Record<string, SensorCounters>;
  /** There is a new grant, or the coordinator that was away accepts the old one again. */
  readonly onGrant: () => void;
  /** Gets the coordinator's words. */
  readonly onSuperseded: (why: string) => void;
}

const LOST_BACKOFF: BackoffOptions = { baseMs: 250, capMs: 5000 };
const REFUSED_BACKOFF: BackoffOptions = { baseMs: 1000, capMs: 30_000 };
/** A longer Retry-After is cut to it, so that with its jitter the agent checks in every 30 s. (A13) */
const RETRY_AFTER_MS_MAX = 27_000;
/** Several lost sessions make one check, somewhere in this window. */
const NUDGE_WINDOW_MS = 100;
/** Checks that are asked for come no closer than this after the last one. */
const ASKED_GAP_MS = 1000;
const RENEW_MS_MIN = 1000;
const RENEW_AT_PART = 0.8;
const DEREGISTER_MS_MAX = 2000;

/** See the head of this file. */
export class Registration implements Service {
  readonly #options: RegistrationOptions;
  readonly #slot: number;
  readonly #complaints: LogLimiter;
  #state: RegistrationState = { at: "unregistered" };
  #grant: Grant | undefined;
  #timer: Timer | undefined;
  #dueMs = 0;
  #checking: Promise<void> | undefined;
  #checkedMs = Number.NEGATIVE_INFINITY;
  #nextHeartbeatMs = 0;
  #failures = 0;
  /** What was said last is no longer so. */
  #isOutdated = false;
  #stopping: Promise<void> | undefined;

  constructor(options: RegistrationOptions) {
    this.#options = options;
    this.#slot = heartbeatSlot(options.identity.nodeId);
    this.#complaints = new LogLimiter(options.clock);
  }

  get state(): RegistrationState {
    return this.#state;
  }

  /** The latest grant; undefined before the first one. */
  get grant(): Grant | undefined {
    return this.#grant;
  }

  /** Sends the first register at once. */
  start(): void {
    this.#check();
  }

  /** A session was lost: checks in soon, whatever the schedule says. */
  nudge(): void {
    this.#ask(this.#options.random.next() * NUDGE_WINDOW_MS);
  }

  /** The coordinator does not accept `refused`: registers for a new one, unless that was done in the meantime. */
  renew(refused: Grant): void {
    if (refused !== this.#grant || this.#state.at !== "registered") return;
    this.#enter({ at: "unregistered" });
    this.#ask(0);
  }

  /** What the agent says of itself has changed: registers again soon; the grant stays good meanwhile. */
  announce(): void {
    this.#isOutdated = true;
    if (this.#state.at === "registered") this.#enter({ at: "unregistered" });
    this.#ask(0);
  }

  /** A session was told that a newer process speaks for this node: says nothing more. */
  supersede(): void {
    this.#timer?.cancel();
    this.#enter({ at: "superseded" });
    this.#grant = undefined;
  }

  /** Stops checking in and says goodbye; a superseded agent has nothing to say. */
  stop(deadlineMs: number): Promise<void> {
    this.#stopping ??= this.#stop(deadlineMs);
    return this.#stopping;
  }

  async #stop(deadlineMs: number): Promise<void> {
    const { client, clock, counters, log } = this.#options;
    this.#timer?.cancel();
    if (this.#checking !== undefined) await withDeadline(clock, deadlineMs, this.#checking);
    const grant = this.#state.at === "superseded" ? undefined : this.#grant;
    this.#enter({ at: "stopped" });
    const leftMs = deadlineMs - clock.monotonicMs();
    if (grant === undefined || leftMs <= 0) return;
    const reply = await client.post(
      `agents/${grant.nodeId}/deregister`,
      { instance_id: grant.instanceId, epoch: grant.epoch, counters: counters() },
      grant.accessToken,
      Math.min(leftMs, DEREGISTER_MS_MAX),
    );
    if (reply.at === "ok") log.info({}, "deregistered");
    else log.warn({ reply }, "could not deregister");
  }

  /** Brings the next check forward to `delayMs` from now, but not right behind the last one. */
  #ask(delayMs: number): void {
    if (this.#checking !== undefined || this.#isOver()) return;
    const nowMs = this.#options.clock.monotonicMs();
    const dueMs = Math.max(nowMs + delayMs, this.#checkedMs + ASKED_GAP_MS);
    if (dueMs < this.#dueMs) this.#schedule(dueMs - nowMs);
  }

  #schedule(delayMs: number): void {
    const { clock } = this.#options;
    this.#timer?.cancel();
    this.#dueMs = clock.monotonicMs() + delayMs;
    this.#timer = clock.after(delayMs, () => this.#check());
  }

  #check(): void {
    this.#checking = this.#checkOnce().then((delayMs) => {
      this.#checking = undefined;
      this.#checkedMs = this.#options.clock.monotonicMs();
      if (!this.#isOver()) this.#schedule(delayMs);
    });
  }

  /** The one setter of the state. Superseded is for good. */
  #enter(next: RegistrationState): void {
    if (this.#state.at !== "superseded" || next.at === "stopped") this.#state = next;
  }

  #isOver(): boolean {
    return this.#stopping !== undefined || this.#state.at === "superseded";
  }

  /** One register or heartbeat, or one after the other. Gives the ms until the next. */
  async #checkOnce(): Promise<number> {
    if (this.#state.at === "registered") {
      if (this.#options.clock.monotonicMs() >= this.#state.renewAtMs)
        this.#enter({ at: "unregistered" });
      else {
        const delayMs = await this.#heartbeat(this.#state.heartbeatMs);
        if (delayMs !== undefined) return delayMs;
      }
    }
    return this.#isOver() ? 0 : this.#register();
  }

  /** Undefined: register at once. */
  async #heartbeat(heartbeatMs: number): Promise<number | undefined> {
    const { client, clock, counters } = this.#options;
    const grant = this.#grant!;
    const reply = await client.post(
      `agents/${grant.nodeId}/heartbeat`,
      { instance_id: grant.instanceId, epoch: grant.epoch, counters: counters() },
      grant.accessToken,
    );
    if (reply.at === "ok") {
      const body = heartbeatResponseSchema.safeParse(reply.body);
      if (!body.success) return this.#failed(BAD_ANSWER);
      if (body.data.reregister) {
        this.#enter({ at: "unregistered" });
        return undefined;
      }
      const wasAway = this.#failures > 0;
      this.#succeeded();
      if (wasAway && this.#stopping === undefined) this.#options.onGrant();
      const lateMs = clock.monotonicMs() - this.#nextHeartbeatMs;
      if (lateMs >= 0) this.#nextHeartbeatMs += lateMs + heartbeatMs - (lateMs % heartbeatMs);
      return this.#untilNext();
    }
    if (reply.at === "refused" && (isWrongToken(reply) || reply.status === 404)) {
      this.#enter({ at: "unregistered" });
      return undefined;
    }
    return this.#failed(reply);
  }

  async #register(): Promise<number> {
    const { client, identity, enrollTokens } = this.#options;
    const request = this.#options.request();
    this.#isOutdated = false;
    const tokens = [identity.refreshToken, ...enrollTokens()].filter((t) => t !== undefined);
    let reply: Reply = BAD_ANSWER;
    for (const token of tokens.length === 0 ? [undefined] : tokens) {
      reply = await client.post("agents/register", request, token);
      const isRefused = reply.at === "refused" && (isWrongToken(reply) || reply.status === 403);
      if (!isRefused) break;
    }
    if (reply.at !== "ok") return this.#failed(reply);
    const body = registerResponseSchema.safeParse(reply.body);
    if (!body.success || body.data.node_id !== identity.nodeId) return this.#failed(BAD_ANSWER);
    this.#registered(request.instance_id, body.data, reply.serverDateMs);
    return this.#untilNext();
  }

  #registered(
    instanceId: string,
    answer: RegisterResponse,
    serverDateMs: number | undefined,
  ): void {
    if (this.#state.at === "superseded") return;
    const { clock, identity, log } = this.#options;
    const nowMs = clock.monotonicMs();
    const heartbeatMs = answer.heartbeat_interval_ms;
    const lifetimeMs = answer.access_expires_ms - (serverDateMs ?? clock.nowMs());
    const renewAtMs = nowMs + Math.max(RENEW_MS_MIN, lifetimeMs * RENEW_AT_PART);
    this.#enter({ at: "registered", heartbeatMs, renewAtMs });
    this.#nextHeartbeatMs = nowMs + this.#slot * heartbeatMs;
    this.#grant = {
      nodeId: answer.node_id,
      instanceId: instanceId as Grant["instanceId"],
      epoch: answer.epoch,
      accessToken: answer.access_token,
      frames: answer.frames,
    };
    this.#succeeded();
    log.info(
      {
        node_id: answer.node_id,
        epoch: answer.epoch,
        frames: answer.frames,
        at_ms: Math.round(nowMs),
      },
      "registered",
    );
    if (this.#stopping === undefined) this.#options.onGrant();
    identity.keepRefreshToken(answer.refresh_token);
    if (this.#isOutdated) this.#enter({ at: "unregistered" });
  }

  #untilNext(): number {
    // Another grant was asked for while this check was under way.
    if (this.#state.at !== "registered") return ASKED_GAP_MS;
    const nowMs = this.#options.clock.monotonicMs();
    return Math.max(0, Math.min(this.#nextHeartbeatMs, this.#state.renewAtMs) - nowMs);
  }

  #succeeded(): void {
    this.#failures = 0;
    this.#complaints.reset();
  }

  /** Gives the ms until the next try. */
  #failed(reply: Exclude<Reply, { at: "ok" }>): number {
    const { log, random } = this.#options;
    if (reply.at === "refused" && reply.status === 409 && SUPERSEDED.has(reply.code)) {
      this.supersede();
      this.#options.onSuperseded(reply.message);
      return 0;
    }
    this.#failures++;
    const held = this.#complaints.pass(complaintOf(reply));
    if (held !== undefined) log.warn({ reply, held_back: held }, complaintOf(reply));
    if (reply.at === "refused" && reply.retryAfterMs !== undefined)
      return Math.min(reply.retryAfterMs, RETRY_AFTER_MS_MAX) * (1 + random.next() / 10);
    const isOurs = reply.at === "refused" && reply.status < 500 && reply.status !== 429;
    if (isOurs) return backoffMs(REFUSED_BACKOFF, this.#failures, random);
    return this.#failures === 1 ? 0 : backoffMs(LOST_BACKOFF, this.#failures - 1, random);
  }
}

/** Another process speaks for this node: a newer one, or one of two that kept taking it from each other. (R9) */
const SUPERSEDED: ReadonlySet<string> = new Set(["superseded", "contested"]);
const BAD_ANSWER = { at: "unreachable", reason: "an answer that this version can't read" } as const;

/** 401, or what takes its place while somebody at our address shows too many wrong tokens: another of ours may be right. */
function isWrongToken(reply: Extract<Reply, { at: "refused" }>): boolean {
  return reply.status === 401 || reply.code === "too_many_failures";
}

function complaintOf(reply: Exclude<Reply, { at: "ok" }>): string {
  if (reply.at === "unreachable") {
    const problem = certificateProblem(reply.reason);
    if (problem !== undefined)
      return `the coordinator's certificate ${problem.found}. ${problem.remedy}`;
    return `the coordinator can't be reached: ${reply.reason}`;
  }
  if (reply.code === "blocked") return "an operator has blocked this node; trying on";
  if (reply.status === 401 || reply.status === 403)
    return `the coordinator refuses our token (${reply.status} ${reply.code}); trying on`;
  return `the coordinator refuses our request (${reply.status} ${reply.code}); trying on`;
}
