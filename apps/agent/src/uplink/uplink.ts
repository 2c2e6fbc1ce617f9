/**
 * Keeps one sensor's session with the coordinator open: connects, and reconnects forever, whatever ended the session. The
 * protocol of a session is in uplink-session.ts; this file owns the socket, its timers and the retries. Created by Agent.
 *
 *   idle       → connecting (grant)                    waiting → connecting (delay over)
 *   connecting → greeting (socket open) | waiting      greeting → open (welcome) | waiting
 *   open       → waiting (lost, bye) | closing (stop)  closing → idle;  any → idle (stop)
 *
 * Each connection has its own Attempt; events of an earlier one are ignored. (A13, A16)
 */
import {
  backoffMs,
  type BackoffOptions,
  type Clock,
  Keepalive,
  type Log,
  LogLimiter,
  type Random,
  type Service,
  type Timer,
} from "@fleet/daemon";
import { KEEPALIVE_MS, PROTOCOL_VERSION, type SensorName, SILENT_MS_MAX } from "@fleet/protocol";
import type { Grant } from "../registration/check-in.ts";
import type { Spool } from "../spool/spool.ts";
import { type FrameSocket, openFrameSocket } from "./frame-socket.ts";
import { type SessionEnd, UplinkSession } from "./uplink-session.ts";

/** The state of an uplink. `failures` counts attempts since the last welcome. */
export type UplinkState =
  | { readonly at: "idle" }
  | { readonly at: "connecting" | "greeting" | "open" | "closing"; readonly attempt: Attempt }
  | { readonly at: "waiting"; readonly failures: number; readonly why: "lost" | "refused" };

/** One connection: its socket, once there is one, and its session. */
interface Attempt {
  readonly grant: Grant;
  readonly session: UplinkSession;
  /** Ends a greeting that takes too long. */
  greeting: Timer | undefined;
  /** Set while the session is open. */
  keepalive: Keepalive | undefined;
  socket: FrameSocket | undefined;
}

/** What an uplink needs. The callbacks report events that only the agent can act on. */
export interface UplinkOptions {
  readonly sensor: SensorName;
  readonly spool: Spool;
  /** As in AgentConfig; used if the frame port speaks TLS. */
  readonly ca: string | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** The latest grant, or undefined before the first registration. */
  readonly grant: () => Grant | undefined;
  /** The coordinator refused the grant: a new one is needed. */
  readonly onUnauthorized: (refused: Grant) => void;
  /** A newer process speaks for this node. */
  readonly onSuperseded: () => void;
  /** An open session was lost. */
  readonly onLost: () => void;
}

const BACKOFF: BackoffOptions = { baseMs: 100, capMs: 5000 };
/** For refusals that need somebody to change something. */
const REFUSED_BACKOFF: BackoffOptions = { baseMs: 1000, capMs: 30_000 };
/** From connect to welcome. */
const GREETING_MS_MAX = 10_000;

/** The uplink of one sensor. */
export class Uplink implements Service {
  readonly #options: UplinkOptions;
  readonly #log: Log;
  #state: UplinkState = { at: "idle" };
  #failures = 0;
  #timer: Timer | undefined;
  #isPumpScheduled = false;
  #stopping: Promise<void> | undefined;
  readonly #idleWaiters: (() => void)[] = [];
  readonly #drainWaiters: (() => void)[] = [];
  readonly #complaints: LogLimiter;

  constructor(options: UplinkOptions) {
    this.#options = options;
    this.#log = options.log;
    this.#complaints = new LogLimiter(options.clock);
  }

  get state(): UplinkState {
    return this.#state;
  }

  /** How many frames are not acknowledged yet. */
  get framesLeft(): number {
    return this.#options.spool.held;
  }

  /** Starts sending what is appended to the spool. Connects at once if there is a grant. */
  start(): void {
    this.#options.spool.onAppend(() => this.#schedulePump());
    this.granted();
  }

  /** Uses a new grant: connects if not connected, and reconnects if the current grant has another epoch or endpoint. */
  granted(): void {
    const grant = this.#options.grant();
    if (grant === undefined || this.#stopping !== undefined) return;
    const state = this.#state;
    if (state.at === "idle") return this.#connect(grant);
    if (state.at === "waiting") {
      // Refused repeatedly, even with new grants: waits for the timer, or grants and refusals would form a busy loop.
      if (state.why === "lost" || state.failures <= 1) this.#connect(grant);
      return;
    }
    if (!isSameSession(state.attempt.grant, grant)) this.#retry(state.attempt, "lost", BACKOFF);
  }

  /** Resolves once every frame in the spool is acknowledged, or at `deadlineMs` (monotonic). */
  drain(deadlineMs: number): Promise<void> {
    if (this.framesLeft === 0) return Promise.resolve();
    const { clock } = this.#options;
    return new Promise((resolve) => {
      const timer = clock.after(Math.max(0, deadlineMs - clock.monotonicMs()), resolve);
      this.#drainWaiters.push(() => {
        timer.cancel();
        resolve();
      });
    });
  }

  /** Closes the connection; bytes already written are still sent, until `deadlineMs`. */
  stop(deadlineMs: number): Promise<void> {
    this.#stopping ??= this.#close(deadlineMs);
    return this.#stopping;
  }

  #close(deadlineMs: number): Promise<void> {
    const { clock } = this.#options;
    this.#timer?.cancel();
    const state = this.#state;
    if (state.at === "idle" || state.at === "waiting") {
      this.#enter({ at: "idle" });
      return Promise.resolve();
    }
    const { attempt } = state;
    if (state.at === "connecting" || attempt.socket === undefined) {
      this.#ended(attempt, { at: "idle" });
      return Promise.resolve();
    }
    this.#enter({ at: "closing", attempt });
    const closed = new Promise<void>((resolve) => {
      const timer = clock.after(Math.max(0, deadlineMs - clock.monotonicMs()), () => {
        this.#ended(attempt, { at: "idle" });
      });
      this.#idleWaiters.push(() => {
        timer.cancel();
        resolve();
      });
    });
    attempt.socket.end();
    return closed;
  }

  /** Sends all frames of one turn of the event loop together, after it. */
  #schedulePump(): void {
    if (this.#isPumpScheduled || this.#state.at !== "open") return;
    this.#isPumpScheduled = true;
    queueMicrotask(() => {
      this.#isPumpScheduled = false;
      if (this.#state.at === "open") this.#state.attempt.session.pump();
    });
  }

  #connect(grant: Grant): void {
    const { clock } = this.#options;
    this.#timer?.cancel();
    const attempt: Attempt = {
      grant,
      session: this.#newSession(grant, () => attempt),
      greeting: clock.after(GREETING_MS_MAX, () =>
        this.#lost(attempt, `no welcome within ${GREETING_MS_MAX / 1000} s`),
      ),
      keepalive: undefined,
      socket: undefined,
    };
    this.#enter({ at: "connecting", attempt });
    const adopt = (socket: FrameSocket): boolean => {
      if (!this.#isCurrent(attempt)) return false;
      attempt.socket = socket;
      return true;
    };
    openFrameSocket(grant.frames, this.#options.ca, adopt, {
      onOpen: (socket) => this.#opened(attempt, socket),
      onData: (chunk) => {
        if (!this.#isCurrent(attempt)) return;
        attempt.keepalive?.received();
        attempt.session.receive(chunk);
      },
      onDrain: () => {
        if (this.#isCurrent(attempt)) attempt.session.drained();
      },
      onLost: (reason) => this.#lost(attempt, reason),
    });
  }

  #newSession(grant: Grant, attempt: () => Attempt): UplinkSession {
    const { sensor, spool } = this.#options;
    return new UplinkSession({
      hello: {
        type: "hello",
        protocol: PROTOCOL_VERSION,
        node_id: grant.nodeId,
        sensor,
        token: grant.accessToken,
        instance_id: grant.instanceId,
        epoch: grant.epoch,
        spool_id: spool.spoolId,
        first_seq: spool.firstSeq,
      },
      spool,
      write: (bytes) => {
        const { keepalive, socket } = attempt();
        keepalive?.sent();
        return socket?.write(bytes) ?? -1;
      },
      onOpen: () => this.#welcomed(attempt()),
      onAck: () => {
        if (this.framesLeft === 0) this.#resolveDrains();
      },
      onEnd: (end) => this.#sessionEnded(attempt(), end),
    });
  }

  #opened(attempt: Attempt, socket: FrameSocket): void {
    if (!this.#isCurrent(attempt)) return;
    socket.setNoDelay(true);
    this.#enter({ at: "greeting", attempt });
    attempt.session.start();
  }

  #welcomed(attempt: Attempt): void {
    attempt.greeting?.cancel();
    attempt.keepalive = new Keepalive({
      clock: this.#options.clock,
      idleMs: KEEPALIVE_MS,
      deadMs: SILENT_MS_MAX,
      onIdle: () => attempt.session.keepAlive(),
      onDead: () => this.#lost(attempt, `the coordinator was silent for ${SILENT_MS_MAX / 1000} s`),
    });
    this.#failures = 0;
    this.#complaints.reset();
    this.#enter({ at: "open", attempt });
    this.#log.info({ first_seq: this.#options.spool.firstSeq }, "session open");
  }

  #sessionEnded(attempt: Attempt, end: SessionEnd): void {
    if (!this.#isCurrent(attempt)) return;
    this.#complain({ end }, "the coordinator ended the session");
    if (end.at === "bad_server") return this.#retry(attempt, "refused", REFUSED_BACKOFF);
    const isCurrentGrant = this.#options.grant() === attempt.grant;
    switch (end.code) {
      case "superseded":
        this.#retry(attempt, "refused", BACKOFF);
        // If the grant was renewed while the hello was in flight, the refusal does not prove that there is another process.
        if (isCurrentGrant) this.#options.onSuperseded();
        return;
      case "unauthorized":
      case "unknown_node":
      case "unknown_sensor":
      case "token_revoked":
        this.#retry(attempt, "refused", BACKOFF);
        if (isCurrentGrant) this.#options.onUnauthorized(attempt.grant);
        return;
      default: {
        const retryable = end.at === "bye" || end.retryable;
        this.#retry(attempt, "refused", retryable ? BACKOFF : REFUSED_BACKOFF);
      }
    }
  }

  #lost(attempt: Attempt, reason: string): void {
    if (!this.#isCurrent(attempt)) return;
    const wasOpen = this.#state.at === "open";
    this.#complain(
      { reason, frames_left: this.framesLeft },
      wasOpen ? "lost the session; reconnecting" : "could not open a session; retrying",
    );
    this.#retry(attempt, "lost", BACKOFF);
    if (wasOpen) this.#options.onLost();
  }

  /** Gives up `attempt` and connects again after a delay, unless closing. */
  #retry(attempt: Attempt, why: "lost" | "refused", backoff: BackoffOptions): void {
    if (this.#state.at === "closing") return this.#ended(attempt, { at: "idle" });
    this.#failures++;
    this.#ended(attempt, { at: "waiting", failures: this.#failures, why });
    const delayMs = backoffMs(backoff, this.#failures, this.#options.random);
    this.#timer = this.#options.clock.after(delayMs, () => {
      const grant = this.#options.grant();
      if (grant === undefined) this.#enter({ at: "idle" });
      else this.#connect(grant);
    });
  }

  #complain(fields: Record<string, unknown>, message: string): void {
    if (this.#state.at === "closing") return;
    const held = this.#complaints.pass(JSON.stringify([message, fields["end"], fields["reason"]]));
    if (held !== undefined) this.#log.warn({ ...fields, held_back: held }, message);
  }

  #ended(attempt: Attempt, next: UplinkState): void {
    attempt.greeting?.cancel();
    attempt.keepalive?.stop();
    this.#enter(next);
    // Last, because this may call the socket's close handler.
    attempt.socket?.terminate();
  }

  #isCurrent(attempt: Attempt): boolean {
    return "attempt" in this.#state && this.#state.attempt === attempt;
  }

  #enter(next: UplinkState): void {
    this.#state = next;
    if (next.at !== "idle") return;
    for (const waiter of this.#idleWaiters.splice(0)) waiter();
  }

  #resolveDrains(): void {
    for (const waiter of this.#drainWaiters.splice(0)) waiter();
  }
}

function isSameSession(a: Grant, b: Grant): boolean {
  return a.epoch === b.epoch && Bun.deepEquals(a.frames, b.frames);
}
