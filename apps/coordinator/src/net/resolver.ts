/**
 * Resolves host names for the coordinator's outgoing connections. The system resolver blocks a thread for each lookup, and
 * the runtime has only as many of these threads as cores: a silent name server would stop everything else that needs one.
 * This resolver uses c-ares, which needs no thread. It looks up one name at a time per purpose, caches answers, and puts
 * names that timed out behind the others. Used by the health questions and by the fetchers. (H12)
 */
import { isIP } from "node:net";
import { type Clock, Counts } from "@fleet/daemon";

/** A lookup times out after this. c-ares continues for up to 30 s, and a late answer is still cached. */
const LOOKUP_MS_MAX = 5000;
/** After this the next lookup may start, so that names whose server is silent don't delay the others. */
const TURN_MS = 500;
/** Lookups per purpose that have exceeded TURN_MS; at this many no further one starts. */
const OVERDUE_MAX = 32;
/** How long an answer is fresh: the record's own time to live within these bounds. */
const FRESH_MS_MIN = 30_000;
const FRESH_MS_MAX = 300_000;
/** An answer that has expired is still used for this long while the name cannot be resolved again. */
const STALE_MS_MAX = 3_600_000;
/** How long a name that does not exist, or whose lookup failed, is not looked up again. */
const RETRY_MS = 30_000;
/** How long a name is not looked up again after a timeout; doubles with each further one. */
const BACKOFF_MS = { base: 60_000, max: 600_000 };
/** Names remembered; beyond this the name used longest ago is forgotten. */
const NAMES_MAX = 4096;
/** Names waiting for a lookup, per purpose; one more fails at once as `busy`. */
const WAITING_MAX = 1024;

/** Lookups for one purpose never wait for those of another. */
export type Purpose = "health" | "fetch";

/** An address, and for how many seconds it may be used; 0 when the source does not say. */
export interface FoundAddress {
  readonly address: string;
  readonly ttl: number;
}

/** Looks up a name. Rejects with `code` DNS_ENOTFOUND or DNS_ENODATA if it does not exist; other errors count as temporary. */
export type Lookup = (host: string) => Promise<readonly FoundAddress[]>;

/** Why there is no address: `deferred`, the name timed out recently and waits; `busy`, too many names wait. */
export type ResolveProblem = "not_found" | "timeout" | "failed" | "deferred" | "busy";

/** At least one address, or the reason why there is none. */
export type Resolved =
  | { readonly at: "addresses"; readonly addresses: readonly string[] }
  | { readonly at: "unresolved"; readonly problem: ResolveProblem };

interface Name {
  addresses: readonly string[];
  freshUntilMs: number;
  staleUntilMs: number;
  /** Timeouts in a row. */
  timeouts: number;
  /** No lookup before this time; `problem` says why. */
  retryAtMs: number;
  problem: ResolveProblem;
}

interface Lane {
  /** Names to look up, oldest first, with the callers that wait for each. */
  readonly waiting: Map<string, Waiter[]>;
  /** Names being looked up. */
  readonly running: Map<string, Waiter[]>;
  /** Whether a lookup has its turn. */
  isTaken: boolean;
  overdue: number;
}

type Waiter = (resolved: Resolved) => void;

const cAres: Lookup = (host) => Bun.dns.lookup(host, { backend: "c-ares" });

/** The coordinator's one resolver. NAMES_MAX and WAITING_MAX bound its memory. */
export class Resolver {
  /** Lookups by outcome: `ok` or a ResolveProblem. */
  readonly outcomes = new Counts();
  readonly #clock: Clock;
  readonly #lookup: Lookup;
  /** The name used longest ago comes first. */
  readonly #names = new Map<string, Name>();
  readonly #lanes: Readonly<Record<Purpose, Lane>> = { health: newLane(), fetch: newLane() };

  constructor(clock: Clock, lookup: Lookup = cAres) {
    this.#clock = clock;
    this.#lookup = lookup;
  }

  /** The addresses of `host`, a name or an address itself. Waits for at most one lookup of its own and those ahead of it. */
  async resolve(host: string, purpose: Purpose): Promise<Resolved> {
    if (isIP(host) !== 0) return { at: "addresses", addresses: [host] };
    const key = host.toLowerCase();
    const name = this.#use(key);
    const nowMs = this.#clock.monotonicMs();
    if (nowMs < name.freshUntilMs) return { at: "addresses", addresses: name.addresses };
    const isUsable = nowMs < name.staleUntilMs;
    if (nowMs < name.retryAtMs && !isUsable)
      return this.#unresolved(name.problem === "timeout" ? "deferred" : name.problem);
    // A stale answer is used at once, and the lookup only refreshes it.
    const looked = nowMs < name.retryAtMs ? undefined : this.#enqueue(key, purpose);
    if (isUsable) return { at: "addresses", addresses: name.addresses };
    return looked ?? this.#unresolved("deferred");
  }

  #use(key: string): Name {
    const name = this.#names.get(key) ?? newName();
    this.#names.delete(key);
    this.#names.set(key, name);
    for (const oldest of this.#names.keys()) {
      if (this.#names.size <= NAMES_MAX) break;
      this.#names.delete(oldest);
    }
    return name;
  }

  #enqueue(key: string, purpose: Purpose): Promise<Resolved> {
    const lane = this.#lanes[purpose];
    const others = lane.running.get(key) ?? lane.waiting.get(key);
    if (others === undefined && lane.waiting.size >= WAITING_MAX)
      return Promise.resolve(this.#unresolved("busy"));
    return new Promise((resolve) => {
      if (others === undefined) lane.waiting.set(key, [resolve]);
      else others.push(resolve);
      this.#next(lane);
    });
  }

  #next(lane: Lane): void {
    if (lane.isTaken || lane.overdue >= OVERDUE_MAX) return;
    const key = this.#first(lane);
    if (key === undefined) return;
    lane.running.set(key, lane.waiting.get(key)!);
    lane.waiting.delete(key);
    void this.#lookUp(lane, key);
  }

  /** The name that has waited longest among those with the fewest timeouts. */
  #first(lane: Lane): string | undefined {
    let best: string | undefined;
    let fewest = Number.POSITIVE_INFINITY;
    for (const key of lane.waiting.keys()) {
      const timeouts = this.#names.get(key)?.timeouts ?? 0;
      if (timeouts < fewest) [best, fewest] = [key, timeouts];
      if (fewest === 0) break;
    }
    return best;
  }

  async #lookUp(lane: Lane, key: string): Promise<void> {
    let isOverdue = false;
    lane.isTaken = true;
    const turn = this.#clock.after(TURN_MS, () => {
      isOverdue = true;
      lane.overdue++;
      lane.isTaken = false;
      this.#next(lane);
    });
    const limit = this.#clock.after(LOOKUP_MS_MAX, () => this.#answer(lane, key, "timeout"));
    this.#answer(lane, key, await this.#ask(key));
    turn.cancel();
    limit.cancel();
    if (isOverdue) lane.overdue--;
    else lane.isTaken = false;
    this.#next(lane);
  }

  /** Records the outcome, and passes it to the callers that still wait. */
  #answer(lane: Lane, key: string, found: readonly FoundAddress[] | ResolveProblem): void {
    const waiters = lane.running.get(key);
    // After the time limit only addresses still matter.
    if (waiters === undefined && typeof found === "string") return;
    lane.running.delete(key);
    const resolved = this.#record(key, found);
    for (const resolve of waiters ?? []) resolve(resolved);
  }

  async #ask(key: string): Promise<readonly FoundAddress[] | ResolveProblem> {
    try {
      const found = await this.#lookup(key);
      return found.length === 0 ? "not_found" : found;
    } catch (error) {
      const { code } = error as { readonly code?: unknown };
      if (code === "DNS_ENOTFOUND" || code === "DNS_ENODATA") return "not_found";
      return code === "DNS_ETIMEOUT" ? "timeout" : "failed";
    }
  }

  #record(key: string, found: readonly FoundAddress[] | ResolveProblem): Resolved {
    const name = this.#use(key);
    const nowMs = this.#clock.monotonicMs();
    if (typeof found !== "string") {
      const ttlMs = Math.min(...found.map(({ ttl }) => ttl)) * 1000;
      name.addresses = found.map(({ address }) => address);
      name.freshUntilMs = nowMs + Math.min(FRESH_MS_MAX, Math.max(FRESH_MS_MIN, ttlMs));
      name.staleUntilMs = name.freshUntilMs + STALE_MS_MAX;
      name.timeouts = 0;
      name.retryAtMs = nowMs;
      this.outcomes.add("ok");
      return { at: "addresses", addresses: name.addresses };
    }
    name.problem = found;
    if (found === "timeout") {
      const waitMs = Math.min(BACKOFF_MS.max, BACKOFF_MS.base * 2 ** name.timeouts++);
      name.retryAtMs = nowMs + waitMs;
    } else {
      name.retryAtMs = nowMs + RETRY_MS;
    }
    return this.#unresolved(found);
  }

  #unresolved(problem: ResolveProblem): Resolved {
    this.outcomes.add(problem);
    return { at: "unresolved", problem };
  }
}

function newLane(): Lane {
  return { waiting: new Map(), running: new Map(), isTaken: false, overdue: 0 };
}

function newName(): Name {
  return {
    addresses: [],
    freshUntilMs: Number.NEGATIVE_INFINITY,
    staleUntilMs: Number.NEGATIVE_INFINITY,
    timeouts: 0,
    retryAtMs: Number.NEGATIVE_INFINITY,
    problem: "failed",
  };
}
