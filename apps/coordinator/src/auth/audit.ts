/**
 * The audit log: who changed what, refused attempts included. An operator's entry is on disk before the request is answered,
 * unless the disk refuses it; then it is written as soon as the disk accepts it. The only writer of the `audit` table. (H5)
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
/** Expired entries removed per pass: a clock that is wrong for an hour must not erase the whole log. */
const PRUNE_ROWS = 1000;
/** How long an agent's act that was recorded is not recorded again. */
const REPEAT_MS = 3_600_000;
/** Agents' acts remembered for that; beyond this, the oldest is forgotten. */
const RECENT_MAX = 20_000;
/** Entries waiting for the disk; beyond this, the oldest is dropped and counted. */
const WAITING_MAX = 10_000;

/** One act; the log adds id and time. */
export interface AuditedAct {
  /** The name of the token that was used. */
  readonly actor: string;
  readonly address: string | null;
  readonly action: string;
  readonly subject: string | null;
  /** `ok`, or an error code. */
  readonly outcome: string;
}

/** Bounds on disk; tests set smaller ones. */
export interface AuditLimits {
  readonly rowsMax: number;
  readonly keepMs: number;
}

/** Writes and lists entries. Keeps at most ROWS_MAX of them, and each for at most KEEP_MS. */
export class Audit {
  /** Entries dropped before they could be written. */
  lost = 0;
  readonly #db: Db;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #limits: AuditLimits;
  readonly #insert: ReturnType<typeof prepareInsert>;
  readonly #timers: Timer[] = [];
  #waiting: (AuditedAct & { readonly at: number })[] = [];
  /** When each of the agents' recent acts was last recorded, oldest first. */
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
    this.#insert = prepareInsert(db);
  }

  start(): void {
    this.#timers.push(every(this.#clock, FLUSH_MS, () => this.#flush()));
    this.#timers.push(every(this.#clock, PRUNE_MS, () => this.#prune()));
  }

  async stop(): Promise<void> {
    for (const timer of this.#timers) timer.cancel();
    this.#flush();
  }

  /** Writes an entry at once. */
  record(act: AuditedAct): void {
    const { actor, address, action, outcome } = act;
    const subject = act.subject && withoutTokens(act.subject);
    this.#log.info({ actor, address, action, subject, outcome }, "audit");
    this.#add({ ...act, subject });
    this.#flush();
  }

  /**
   * Records what an agent did, within a second and in batches, because thousands may act at once. The same act is recorded
   * once an hour, so that an agent in a restart loop does not push operators' entries out of the log.
   */
  recordSoon(act: AuditedAct): void {
    const key = JSON.stringify([act.actor, act.address, act.action, act.subject, act.outcome]);
    const nowMs = this.#clock.monotonicMs();
    const lastMs = this.#recent.get(key);
    if (lastMs !== undefined && nowMs - lastMs < REPEAT_MS) return;
    // Deleted first, so that it moves to the end.
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

  /** At most `limit` entries, newest first. `before` is the `next_cursor` of the previous page. */
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
      if (!this.#failing) this.#log.error({ err }, "can't write the audit log");
      this.#failing = true;
      return;
    }
    this.#failing = false;
    this.#waiting = [];
  }

  #prune(): void {
    try {
      const expired = this.#db
        .select({ id: audit.id })
        .from(audit)
        .where(lt(audit.at, this.#clock.nowMs() - this.#limits.keepMs))
        .orderBy(asc(audit.id))
        .limit(PRUNE_ROWS);
      this.#db.delete(audit).where(inArray(audit.id, expired)).run();
    } catch (err) {
      this.#log.warn({ err }, "can't prune the audit log");
    }
  }
}

/** Prepared once, since thousands of agents may enrol at once. */
function prepareInsert({ $client: sqlite }: Db) {
  return sqlite.query<null, Record<keyof AuditedAct | "at", string | number | null>>(
    `INSERT INTO audit (at, actor, address, action, subject, outcome)
     VALUES ($at, $actor, $address, $action, $subject, $outcome)`,
  );
}
