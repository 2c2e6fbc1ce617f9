/**
 * Fetches the frames of one stream from a server that offers the latest one, and offers them to the stream's tracker. (T7)
 *
 *   new → live ⇄ stalled;   any → failing → live, stalled
 *
 * `live`: new frames arrive, and the fetcher is a source of the tracker. `stalled`: responses are good, but the frame stays
 * the same, as with a dead sensor behind a live server. `failing`: responses are bad, and the interval grows. In the last
 * two the tracker has lost its source, so it stops after `extended_outage`; the first new frame starts it again.
 */
import {
  backoffMs,
  type Clock,
  Counts,
  type Log,
  type LogLimiter,
  type Random,
  sleep,
} from "@fleet/daemon";
import { type EncodedFrame, type NodeId, streamIdOf } from "@fleet/protocol";
import type { Registry } from "../../registry/registry.ts";
import type { TrackerManager } from "../../trackers/manager.ts";
import type { Tracker } from "../../trackers/tracker.ts";
import type { Resolver } from "../../net/resolver.ts";
import { type Fetched, fetchFrame, type FetchTarget } from "./fetch-frame.ts";

const TIMEOUT_MS = 10_000;
const BACKOFF = { baseMs: 2000, capMs: 30_000 };
/** A stream is stalled when its frame stays the same for this long and for this many intervals. */
const STALLED_MS = 10_000;
const STALLED_INTERVALS = 3;

/** Where a node's frames are fetched from, and how often. `shown` is the URL without credentials or query. */
export interface FetchSource extends FetchTarget {
  readonly nodeId: NodeId;
  readonly shown: string;
  readonly intervalMs: number;
}

/** What all fetchers share. */
export interface FetcherDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly registry: Registry;
  readonly manager: TrackerManager;
  readonly resolver: Resolver;
  /** Keeps a server that fails again and again from filling the log. */
  readonly logLimiter: LogLimiter;
}

type State =
  | { readonly at: "new" }
  | { readonly at: "live"; readonly tracker: Tracker; readonly newFrameAtMs: number }
  | { readonly at: "stalled"; readonly isLogged: boolean }
  | { readonly at: "failing"; readonly failures: number; readonly isLogged: boolean };

/** Fetches one stream, from `start` to `stop`. */
export class Fetcher {
  readonly source: FetchSource;
  /** Outcomes of fetches: `frame`, `duplicate`, `tracker_full` (nothing was requested), or why there was no frame. */
  readonly outcomes = new Counts();
  readonly #deps: FetcherDeps;
  readonly #log: Log;
  readonly #stop = new AbortController();
  #pending: AbortController | undefined;
  #state: State = { at: "new" };
  #running: Promise<void> = Promise.resolve();

  constructor(deps: FetcherDeps, source: FetchSource) {
    this.#deps = deps;
    this.source = source;
    this.#log = deps.log.child({ stream_id: source.nodeId, url: source.shown });
  }

  get state(): State["at"] {
    return this.#state.at;
  }

  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.#pending?.abort();
    await this.#running;
    this.#enter({ at: "new" });
  }

  async #run(): Promise<void> {
    const { clock, random } = this.#deps;
    const { signal } = this.#stop;
    // The sources of a config do not all start at the same moment.
    let waitMs = random.next() * this.source.intervalMs;
    while (!signal.aborted) {
      await sleep(clock, waitMs, signal).catch(() => {});
      if (!signal.aborted) waitMs = await this.#fetchOnce();
    }
  }

  /** Fetches once, and returns the ms to wait. While fetches succeed, they start at the interval. */
  async #fetchOnce(): Promise<number> {
    const { clock, random } = this.#deps;
    const startedMs = clock.monotonicMs();
    if (this.#state.at === "live" && this.#state.tracker.isCongested) {
      this.outcomes.add("tracker_full");
      return this.source.intervalMs;
    }
    const fetched = await this.#request();
    if (this.#stop.signal.aborted) return 0;
    const problem = fetched.at === "frame" ? this.#take(fetched.frame) : fetched.problem;
    if (problem !== undefined) {
      const failures = this.#fail(problem, fetched.at === "refused" ? fetched.detail : undefined);
      return backoffMs(BACKOFF, failures, random);
    }
    return Math.max(0, this.source.intervalMs - (clock.monotonicMs() - startedMs));
  }

  async #request(): Promise<
    Fetched | { readonly at: "refused"; readonly problem: "timed_out"; readonly detail?: undefined }
  > {
    const request = new AbortController();
    this.#pending = request;
    let isLate = false;
    const timer = this.#deps.clock.after(TIMEOUT_MS, () => {
      isLate = true;
      request.abort();
    });
    const fetched = await fetchFrame(this.#deps.resolver, this.source, request.signal);
    timer.cancel();
    return isLate ? { at: "refused", problem: "timed_out" } : fetched;
  }

  /** Offers a frame to the tracker unless it repeats the one before. Returns why the tracker cannot take it, if so. */
  #take(frame: EncodedFrame): string | undefined {
    const { registry, manager } = this.#deps;
    const { nodeId } = this.source;
    const heard = registry.heardPlain(nodeId);
    if (heard !== "heard") return heard;
    const stream = streamIdOf(nodeId);
    if (manager.get(stream)?.isRepeated(frame.timestampMs) === true) {
      this.outcomes.add("duplicate");
      this.#onRepeat();
      return undefined;
    }
    const tracker = this.#state.at === "live" ? this.#state.tracker : manager.attach(stream);
    if (typeof tracker === "string") return tracker;
    this.outcomes.add("frame");
    this.#enter({ at: "live", tracker, newFrameAtMs: this.#deps.clock.monotonicMs() });
    tracker.offerDroppable(frame);
    return undefined;
  }

  #onRepeat(): void {
    const state = this.#state;
    if (state.at === "failing") this.#enter({ at: "stalled", isLogged: false });
    if (state.at !== "live") return;
    const silentMs = this.#deps.clock.monotonicMs() - state.newFrameAtMs;
    if (silentMs < Math.max(STALLED_MS, STALLED_INTERVALS * this.source.intervalMs)) return;
    const isLogged = this.#mayLog();
    if (isLogged) this.#log.warn({ silent_ms: silentMs }, "fetched frame does not change");
    this.#enter({ at: "stalled", isLogged });
  }

  /** Notes a failure. Returns the number of failures in a row. */
  #fail(problem: string, detail: string | undefined): number {
    this.outcomes.add(problem);
    const state = this.#state;
    const isFirst = state.at !== "failing";
    const isLogged = isFirst ? this.#mayLog() : state.isLogged;
    if (isFirst && isLogged) this.#log.warn({ problem, detail }, "fetching frames fails");
    const failures = isFirst ? 1 : state.failures + 1;
    this.#enter({ at: "failing", failures, isLogged });
    return failures;
  }

  /** The only place where the state changes. The fetcher is a source of the tracker for as long as it is `live`. */
  #enter(next: State): void {
    const last = this.#state;
    this.#state = next;
    const hasRecovered = last.at === "failing" || last.at === "stalled";
    if (hasRecovered && last.isLogged && next.at !== last.at && next.at !== "new")
      this.#log.info({ state: next.at }, "fetching frames works again");
    if (last.at === "live" && next.at !== "live") last.tracker.detach();
  }

  #mayLog(): boolean {
    return this.#deps.logLimiter.pass(this.source.nodeId) !== undefined;
  }
}
