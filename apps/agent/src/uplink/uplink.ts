/**
 * Keeps one sensor's session with the coordinator: connects, says hello, and comes back after whatever ended it, for ever.
 * What is said in a session is in uplink-session.ts; this file owns the socket, its timers and the retries.
 *
 *   idle       → connecting (a grant came)             waiting → connecting (time is up)
 *   connecting → greeting (socket open) | waiting      greeting → open (welcome) | waiting
 *   open       → waiting (lost, bye) | closing (stop)  closing → idle;  any → idle (stop)
 *
 * Events of an older socket are known by its Attempt and ignored.
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
import { certificateProblem } from "../registration/certificate-problem.ts";
import type { Grant } from "../registration/check-in.ts";
import type { Spool } from "../spool/spool.ts";
import { type SessionEnd, UplinkSession } from "./uplink-session.ts";

/** Where an uplink is. `failures` counts attempts since the last welcome. */
export type UplinkState =
  | { readonly at: "idle" }
  | { readonly at: "connecting" | "greeting" | "open" | "closing"; readonly attempt: Attempt }
  | { readonly at: "waiting"; readonly failures: number; readonly why: "lost" | "refused" };

/** One connection: its socket, when there is one, and what is said on it. */
interface Attempt {
  readonly grant: Grant;
  readonly session: UplinkSession;
  /** Cuts off a greeting that takes too long. */
  greeting: Timer | undefined;
  /** Of an open session. */
  keepalive: Keepalive | undefined;
  socket: Socket | undefined;
}

type Socket = Bun.Socket<undefined>;

/** What an uplink needs. The callbacks tell the agent what only it can act on. */
export interface UplinkOptions {
  readonly sensor: SensorName;
  readonly spool: Spool;
  /** As in AgentConfig; for a frame port that speaks TLS. */
  readonly ca: string | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** The latest grant, or undefined before the first registration. */
  readonly grant: () => Grant | undefined;
  /** The coordinator did not accept the grant `refused`: a new one is needed. */
  readonly onUnauthorized: (refused: Grant) => void;
  /** A newer process speaks for this node. */
  readonly onSuperseded: () => void;
  /** A session that stood was lost. */
  readonly onLost: () => void;
}

const BACKOFF: BackoffOptions = { baseMs: 100, capMs: 5000 };
/** For refusals that will not change by themselves. */
const REFUSED_BACKOFF: BackoffOptions = { baseMs: 1000, capMs: 30_000 };
/** From connect to welcome. */
const GREETING_MS_MAX = 10_000;

/** See the head of this file. (A13, A16, DESIGN §6) */
export class Uplink implements Service {
  readonly #options: UplinkOptions;
  readonly #log: Log;
  #state: UplinkState = { at: "idle" };
  #failures = 0;
  #timer: Timer | undefined;
  #pumpAsked = false;
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

  /** Frames not yet acknowledged. */
  get framesLeft(): number {
    return this.#options.spool.held;
  }

  /** Begins to follow the spool. Connects at once when there is a grant. */
  start(): void {
    this.#options.spool.onAppend(() => this.#askPump());
    this.granted();
  }

  /** A new grant is there: connects, if that was waited for, or if the one in use is for another epoch or endpoint. */
  granted(): void {
    const grant = this.#options.grant();
    if (grant === undefined || this.#stopping !== undefined) return;
    const state = this.#state;
    if (state.at === "idle") return this.#connect(grant);
    if (state.at === "waiting") {
      // Refused again and again, even with new grants: the timer decides, or the two would chase each other.
      if (state.why === "lost" || state.failures <= 1) this.#connect(grant);
      return;
    }
    if (!isSameSession(state.attempt.grant, grant)) this.#retry(state.attempt, "lost", BACKOFF);
  }

  /** Resolves when every frame in the spool is acknowledged, or at `deadlineMs` (monotonic). */
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

  /** Closes the connection: what is written still goes out, until `deadlineMs`. */
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

  /** Many frames arrive in one turn; they are sent together after it. */
  #askPump(): void {
    if (this.#pumpAsked || this.#state.at !== "open") return;
    this.#pumpAsked = true;
    queueMicrotask(() => {
      this.#pumpAsked = false;
      if (this.#state.at === "open") this.#state.attempt.session.pump();
    });
  }

  #connect(grant: Grant): void {
    const { clock } = this.#options;
    this.#timer?.cancel();
    const attempt: Attempt = {
      grant,
      session: this.#newSession(grant, () => attempt),
      greeting: clock.after(GREETING_MS_MAX, () => this.#lost(attempt, "no welcome in time")),
      keepalive: undefined,
      socket: undefined,
    };
    this.#enter({ at: "connecting", attempt });
    const { host, port, tls } = grant.frames;
    const { ca } = this.#options;
    Bun.connect<undefined>({
      hostname: host,
      port,
      tls: tls && ca !== undefined ? { ca } : tls,
      socket: {
        open: (socket) => {
          if (!this.#isCurrent(attempt)) return void socket.terminate();
          attempt.socket = socket;
          if (!tls) this.#opened(attempt, socket);
        },
        // Of TLS only. The certificate has been checked for `host` by then.
        handshake: (socket, isSecure, error) => {
          if (isSecure) this.#opened(attempt, socket);
          else this.#lost(attempt, handshakeProblem(error));
        },
        data: (_socket, chunk) => {
          if (!this.#isCurrent(attempt)) return;
          attempt.keepalive?.received();
          attempt.session.receive(chunk);
        },
        drain: () => {
          if (this.#isCurrent(attempt)) attempt.session.drained();
        },
        close: () => this.#lost(attempt, "connection closed"),
        error: (_socket, error) => this.#lost(attempt, error.message),
        connectError: (_socket, error) => this.#lost(attempt, error.message),
      },
    }).catch((error: unknown) => this.#lost(attempt, String(error)));
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
        if (this.framesLeft === 0) this.#tellDrained();
      },
      onEnd: (end) => this.#sessionEnded(attempt(), end),
    });
  }

  #opened(attempt: Attempt, socket: Socket): void {
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
      onDead: () => this.#lost(attempt, `nothing heard for ${SILENT_MS_MAX / 1000} s`),
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
        // A grant that was renewed while the hello was under way is no sign of another process.
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
      wasOpen ? "session lost" : "no session",
    );
    this.#retry(attempt, "lost", BACKOFF);
    if (wasOpen) this.#options.onLost();
  }

  /** Gives `attempt` up and connects again after a while; when closing, that was it. */
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
    // Last, since the socket's close handler may run within.
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

  #tellDrained(): void {
    for (const waiter of this.#drainWaiters.splice(0)) waiter();
  }
}

function isSameSession(a: Grant, b: Grant): boolean {
  return a.epoch === b.epoch && Bun.deepEquals(a.frames, b.frames);
}

function handshakeProblem(error: Error | null): string {
  const { code = "", message = "TLS failed" } = (error ?? {}) as {
    code?: string;
    message?: string;
  };
  const problem = certificateProblem(code);
  if (problem !== undefined)
    return `the frame port's certificate ${problem.found}. ${problem.remedy}`;
  return code === "EPROTO" ? "the frame port does not speak TLS" : message;
}
