/**
 * Keeps the agent registered: decides when to register or send a heartbeat and acts on the outcome, forever, however the
 * coordinator fails. One check-in is in flight at a time. Created by Agent. (A13, A14, R6, R7, R9, H5)
 *
 *   unregistered → registered (register) | superseded (409)
 *   registered   → registered (heartbeat, register) | superseded (409)
 *                | unregistered (401, 404, reregister, token about to expire, something to announce)
 *   any          → stopped
 *
 * While the coordinator can't be reached the state does not change.
 */
import {
  backoffMs,
  type BackoffOptions,
  type Log,
  LogLimiter,
  type Random,
  type Service,
  type Timer,
  withDeadline,
} from "@fleet/daemon";
import type { RegisterRequest } from "@fleet/protocol";
import {
  type CheckIn,
  type CheckInFailure,
  type CheckInOptions,
  deregister,
  failureMessage,
  type Grant,
  heartbeat,
  register,
} from "./check-in.ts";
import { heartbeatSlot } from "./heartbeat-slot.ts";

/** The agent's standing with the coordinator. Times are monotonic ms. */
export type RegistrationState =
  | { readonly at: "unregistered" }
  | { readonly at: "registered"; readonly heartbeatMs: number; readonly renewAtMs: number }
  | { readonly at: "superseded" }
  | { readonly at: "stopped" };

/** What registration needs. */
export interface RegistrationOptions extends CheckInOptions {
  readonly random: Random;
  readonly log: Log;
  /** The register request as of now; called for each register. */
  readonly request: () => RegisterRequest;
  /** There is a new grant, or a coordinator that was unreachable accepts the old one again. */
  readonly onGrant: () => void;
  /** Another process speaks for this node; `why` is the coordinator's message. */
  readonly onSuperseded: (why: string) => void;
}

const UNREACHABLE_BACKOFF: BackoffOptions = { baseMs: 250, capMs: 5000 };
const REFUSED_BACKOFF: BackoffOptions = { baseMs: 1000, capMs: 30_000 };
/** A longer Retry-After is cut to this, so that with its jitter the agent still checks in every 30 s. (A13) */
const RETRY_AFTER_MS_MAX = 27_000;
/** Sessions that are lost together cause one check-in, at a random time within this window. */
const NUDGE_WINDOW_MS = 100;
/** A requested check-in follows the last one no sooner than this. */
const REQUESTED_GAP_MS = 1000;
const RENEW_MS_MIN = 1000;
/** The share of its lifetime after which an access token is renewed. */
const RENEW_AT_SHARE = 0.8;
const DEREGISTER_MS_MAX = 2000;

/** The schedule of the agent's check-ins, and the one owner of its grant. */
export class Registration implements Service {
  readonly #options: RegistrationOptions;
  readonly #slot: number;
  readonly #complaints: LogLimiter;
  #state: RegistrationState = { at: "unregistered" };
  #grant: Grant | undefined;
  #timer: Timer | undefined;
  /** When the timer is due. */
  #dueMs = 0;
  #checking: Promise<void> | undefined;
  #checkedMs = Number.NEGATIVE_INFINITY;
  #nextHeartbeatMs = 0;
  /** Check-ins that failed since the last success. */
  #failures = 0;
  /** The register in flight does not contain the latest change. */
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

  /** Registers immediately. */
  start(): void {
    this.#check();
  }

  /** A session was lost: checks in soon, regardless of the schedule. */
  nudge(): void {
    this.#checkWithin(this.#options.random.next() * NUDGE_WINDOW_MS);
  }

  /** The coordinator does not accept the grant `refused`: registers for a new one, unless there is one already. */
  renew(refused: Grant): void {
    if (refused !== this.#grant || this.#state.at !== "registered") return;
    this.#enter({ at: "unregistered" });
    this.#checkWithin(0);
  }

  /** The register request has changed: registers again soon. The grant stays valid meanwhile. */
  announce(): void {
    this.#isOutdated = true;
    if (this.#state.at === "registered") this.#enter({ at: "unregistered" });
    this.#checkWithin(0);
  }

  /** Another process speaks for this node: ends all check-ins. */
  supersede(): void {
    this.#timer?.cancel();
    this.#enter({ at: "superseded" });
    this.#grant = undefined;
  }

  /** Ends the check-ins and deregisters, unless superseded. */
  stop(deadlineMs: number): Promise<void> {
    this.#stopping ??= this.#stop(deadlineMs);
    return this.#stopping;
  }

  async #stop(deadlineMs: number): Promise<void> {
    const { clock, log } = this.#options;
    this.#timer?.cancel();
    if (this.#checking !== undefined) await withDeadline(clock, deadlineMs, this.#checking);
    const grant = this.#state.at === "superseded" ? undefined : this.#grant;
    this.#enter({ at: "stopped" });
    const leftMs = deadlineMs - clock.monotonicMs();
    if (grant === undefined || leftMs <= 0) return;
    const reply = await deregister(this.#options, grant, Math.min(leftMs, DEREGISTER_MS_MAX));
    if (reply.at === "ok") log.info({}, "deregistered");
    else log.warn({ reply }, "could not deregister; the coordinator will find this node silent");
  }

  /** Brings the next check-in forward to `delayMs` from now, keeping the gap to the last one. */
  #checkWithin(delayMs: number): void {
    if (this.#checking !== undefined || this.#isOver()) return;
    const nowMs = this.#options.clock.monotonicMs();
    const dueMs = Math.max(nowMs + delayMs, this.#checkedMs + REQUESTED_GAP_MS);
    if (dueMs < this.#dueMs) this.#schedule(dueMs - nowMs);
  }

  #schedule(delayMs: number): void {
    const { clock } = this.#options;
    this.#timer?.cancel();
    this.#dueMs = clock.monotonicMs() + delayMs;
    this.#timer = clock.after(delayMs, () => this.#check());
  }

  #check(): void {
    this.#checking = this.#checkIn().then((delayMs) => {
      this.#checking = undefined;
      this.#checkedMs = this.#options.clock.monotonicMs();
      if (!this.#isOver()) this.#schedule(delayMs);
    });
  }

  /** The one setter of the state. Nothing but a stop follows `superseded`. */
  #enter(next: RegistrationState): void {
    if (this.#state.at !== "superseded" || next.at === "stopped") this.#state = next;
  }

  #isOver(): boolean {
    return this.#stopping !== undefined || this.#state.at === "superseded";
  }

  /** A heartbeat, a register, or one after the other. Returns the ms until the next check-in. */
  async #checkIn(): Promise<number> {
    const state = this.#state;
    if (state.at === "registered" && this.#options.clock.monotonicMs() < state.renewAtMs) {
      const result = await heartbeat(this.#options, this.#grant!);
      if (result.at !== "reregister") return this.#act(result);
    }
    if (this.#state.at === "registered") this.#enter({ at: "unregistered" });
    if (this.#isOver()) return 0;
    const request = this.#options.request();
    this.#isOutdated = false;
    return this.#act(await register(this.#options, request));
  }

  /** Acts on an outcome. Returns the ms until the next check-in. */
  #act(result: Exclude<CheckIn, { at: "reregister" }>): number {
    switch (result.at) {
      case "registered":
        this.#registered(result);
        return this.#untilNext();
      case "heartbeat_ok":
        this.#heartbeatAccepted();
        return this.#untilNext();
      case "superseded":
        this.supersede();
        this.#options.onSuperseded(result.message);
        return 0;
      default:
        return this.#failed(result);
    }
  }

  #registered(result: Extract<CheckIn, { at: "registered" }>): void {
    if (this.#state.at === "superseded") return;
    const { clock, identity, log } = this.#options;
    const { grant, heartbeatMs, lifetimeMs, refreshToken } = result;
    const nowMs = clock.monotonicMs();
    const renewAtMs = nowMs + Math.max(RENEW_MS_MIN, lifetimeMs * RENEW_AT_SHARE);
    this.#enter({ at: "registered", heartbeatMs, renewAtMs });
    this.#nextHeartbeatMs = nowMs + this.#slot * heartbeatMs;
    this.#grant = grant;
    this.#succeeded();
    const { nodeId, epoch, frames } = grant;
    log.info({ node_id: nodeId, epoch, frames, at_ms: Math.round(nowMs) }, "registered");
    if (this.#stopping === undefined) this.#options.onGrant();
    identity.keepRefreshToken(refreshToken);
    if (this.#isOutdated) this.#enter({ at: "unregistered" });
  }

  #heartbeatAccepted(): void {
    const wasFailing = this.#failures > 0;
    this.#succeeded();
    if (wasFailing && this.#stopping === undefined) this.#options.onGrant();
    if (this.#state.at !== "registered") return;
    const { heartbeatMs } = this.#state;
    const lateMs = this.#options.clock.monotonicMs() - this.#nextHeartbeatMs;
    if (lateMs >= 0) this.#nextHeartbeatMs += lateMs + heartbeatMs - (lateMs % heartbeatMs);
  }

  #untilNext(): number {
    // Another grant was requested while this check-in was in flight.
    if (this.#state.at !== "registered") return REQUESTED_GAP_MS;
    const nowMs = this.#options.clock.monotonicMs();
    return Math.max(0, Math.min(this.#nextHeartbeatMs, this.#state.renewAtMs) - nowMs);
  }

  #succeeded(): void {
    this.#failures = 0;
    this.#complaints.reset();
  }

  /** Logs a failure. Returns the ms until the next try. */
  #failed(failure: CheckInFailure): number {
    const { log, random } = this.#options;
    this.#failures++;
    const message = failureMessage(failure);
    const held = this.#complaints.pass(message);
    if (held !== undefined) log.warn({ check_in: failure, held_back: held }, message);
    if (failure.at !== "unreachable" && failure.retryAfterMs !== undefined)
      return Math.min(failure.retryAfterMs, RETRY_AFTER_MS_MAX) * (1 + random.next() / 10);
    if (failure.at !== "unreachable" && failure.at !== "unavailable")
      return backoffMs(REFUSED_BACKOFF, this.#failures, random);
    return this.#failures === 1 ? 0 : backoffMs(UNREACHABLE_BACKOFF, this.#failures - 1, random);
  }
}
