/**
 * Who did what: every call that changed something or was meant to. Kept to ROWS_MAX entries and KEEP_MS. What an operator
 * did is on disk before it is answered, unless the disk refuses; then it is tried again. The only writer of `audit`. (H5)
 */
import { type Clock, every, type Log, type Timer } from "@fleet/daemon";
import type { AuditList } from "@fleet/protocol";
import { asc, desc, inArray, lt, lte, max } from "drizzle-orm";
import type { Db } from "../db/open.ts";
import { audit } from "../db/schema.ts";
import { withoutTokens } from "./secret-text.ts";

const ROWS_MAX = 100_000;
const KEEP_MS = 400 * 86_400_000;
const FLUSH_MS = 1000;
const PRUNE_MS = 3_600_000;
/** Old entries that one pass removes: a clock that is wrong for an hour must not cost the whole history. */
const PRUNE_ROWS = 1000;
/** An agent that does the same again within this time is not written down again, as long as it is among RECENT_MAX. */
const REPEAT_MS = 3_600_000;
const RECENT_MAX = 20_000;
/** Entries that wait for the disk; beyond, the oldest is dropped and counted. */
const WAITING_MAX = 10_000;

/** One entry, without what is filled in here. */
export interface AuditedAct {
  /** The name of the token that was shown. */
  readonly actor: string;
  readonly address: string | null;
  readonly action: string;
  readonly subject: string | null;
  /** `ok`, or an error code. */
  readonly outcome: string;
}

/** Limits that a test makes small. */
export interface AuditLimits {
  readonly rowsMax: number;
  readonly keepMs: number;
}

/** Bounded in memory and on disk. */
export class Audit {
  /** Entries that were never written. */
  lost = 0;
  readonly #db: Db;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #limits: AuditLimits;
  readonly #insert: ReturnType<typeof insertInto>;
  readonly #timers: Timer[] = [];
  #waiting: (AuditedAct & { readonly at: number })[] = [];
  /** When agents' acts were last written, the one that was longest ago first. */
  readonly #recent = new Map<string, number>();
  #failing = false;

  constructor(
    db: Db,
    clock: Clock,
    log: Log,
    limits: AuditLimits = { rowsMax: ROWS_MAX, keepMs: KEEP_MS },
  ) {
    this.#db = db;
    this.#clock = clock;
    this.#log = log;
    this.#limits = limits;
    this.#insert = insertInto(db);
  }

  start(): void {
    this.#timers.push(every(this.#clock, FLUSH_MS, () => this.#flush()));
    this.#timers.push(every(this.#clock, PRUNE_MS, () => this.#prune()));
  }

  async stop(): Promise<void> {
    for (const timer of this.#timers) timer.cancel();
    this.#flush();
  }

  /** Writes it down now. */
  record(act: AuditedAct): void {
    const { actor, address, action, outcome } = act;
    const subject = act.subject && withoutTokens(act.subject);
    this.#log.info({ actor, address, action, subject, outcome }, "audit");
    this.#add({ ...act, subject });
    this.#flush();
  }

  /**
   * For what agents do, thousands at a time and some of them for ever: writes it down within a second, together with others,
   * and the very same act once an hour, so that an agent that starts over and over does not push out what people did.
   */
  recordSoon(act: AuditedAct): void {
    const key = JSON.stringify([act.actor, act.address, act.action, act.subject, act.outcome]);
    const nowMs = this.#clock.monotonicMs();
    const lastMs = this.#recent.get(key);
    if (lastMs !== undefined && nowMs - lastMs < REPEAT_MS) return;
    // Deleted first, so that it goes to the end.
    this.#recent.delete(key);
    this.#recent.set(key, nowMs);
    const [oldest] = this.#recent.keys();
    if (this.#recent.size > RECENT_MAX) this.#recent.delete(oldest!);
    this.#add(act);
  }

  #add(act: AuditedAct): void {
    this.#waiting.push({ ...act, at: this.#clock.nowMs() });
    if (this.#waiting.length <= WAITING_MAX) return;
    this.#waiting.shift();
    this.lost++;
  }

  /** Newest first, at most `limit`; `before` is the `next_cursor` of the page before. */
  list(limit: number, before = Number.MAX_SAFE_INTEGER): AuditList {
    this.#flush();
    const rows = this.#db
      .select()
      .from(audit)
      .where(lt(audit.id, before))
      .orderBy(desc(audit.id))
      .limit(limit + 1)
      .all();
    const entries = rows.slice(0, limit);
    return rows.length > limit ? { entries, next_cursor: entries.at(-1)!.id } : { entries };
  }

  #flush(): void {
    if (this.#waiting.length === 0) return;
    try {
      this.#db.transaction((tx) => {
        for (const entry of this.#waiting) this.#insert.run({ ...entry });
        const last =
          tx
            .select({ id: max(audit.id) })
            .from(audit)
            .get()?.id ?? 0;
        tx.delete(audit)
          .where(lte(audit.id, last - this.#limits.rowsMax))
          .run();
      });
    } catch (err) {
      if (!this.#failing) this.#log.error({ err }, "the audit log can't be written");
      this.#failing = true;
      return;
    }
    this.#failing = false;
    this.#waiting = [];
  }

  #prune(): void {
    try {
      const old = this.#db
        .select({ id: audit.id })
        .from(audit)
        .where(lt(audit.at, this.#clock.nowMs() - this.#limits.keepMs))
        .orderBy(asc(audit.id))
        .limit(PRUNE_ROWS);
      this.#db.delete(audit).where(inArray(audit.id, old)).run();
    } catch (err) {
      this.#log.warn({ err }, "the audit log is not pruned");
    }
  }
}

/** Ready-made, since thousands of agents may enrol at once. */
function insertInto({ $client: sqlite }: Db) {
  return sqlite.query<null, Record<keyof AuditedAct | "at", string | number | null>>(
    `INSERT INTO audit (at, actor, address, action, subject, outcome)
     VALUES ($at, $actor, $address, $action, $subject, $outcome)`,
  );
}
