/**
 * The one way in which durable state changes: `commit(keys, decide)` reads the rows of `keys`, has the pure `decide` choose
 * their next rows and the events that report the change, writes both, then updates memory, then publishes. A change is on disk
 * before its promise resolves. All changes of one turn of the event loop share a transaction, because a synced commit takes
 * milliseconds whether it holds one row or hundreds. Used by the registry and the tokens. (R1, R4)
 */
import type { Log } from "@fleet/daemon";
import { type Bus, type NodeEvent, payloadOf } from "../bus.ts";
import { NodeHistory } from "./node-history.ts";
import type { Db } from "./open.ts";

/** The most changes in one transaction: a batch that is full is written without waiting for the end of the turn. */
export const BATCH_MAX = 512;

/** The rows of one kind, held in memory and on disk by the table's owner. */
export interface Table<Row> {
  /** The committed row, from memory; undefined when there is none. */
  get(id: string): Row | undefined;
  /** Replaces `previous` by `next` on disk, within a transaction; undefined deletes. Throws the database's errors. */
  write(id: string, next: Row | undefined, previous: Row | undefined): void;
  /** Updates memory after the transaction. Must not throw. */
  apply(id: string, next: Row | undefined): void;
}

/** Names one row. */
export interface Key<Row> {
  readonly table: Table<Row>;
  readonly id: string;
}

/** The keys of a change, by the names that `decide` uses. Rows are written in this order. */
type Keys = Readonly<Record<string, Key<unknown>>>;

/** The row of each key; undefined where there is none. */
export type RowsOf<K extends Keys> = {
  readonly [Name in keyof K]: K[Name] extends Key<infer Row> ? Row | undefined : never;
};

/** What `decide` returns. */
export interface Decision<K extends Keys, T> {
  /** What the caller of `commit` receives once the change is on disk. */
  readonly outcome: T;
  /** The next rows; undefined deletes one, and a name that is absent leaves its row unchanged. */
  readonly next?: Partial<RowsOf<K>>;
  readonly events?: readonly NodeEvent[];
}

/** Chooses the next rows from the previous ones. Pure: it may run more than once. */
export type Decide<K extends Keys, T> = (previous: RowsOf<K>) => Decision<K, T>;

interface Waiting {
  /** Decides on the draft; returns the function that settles the caller's promise after the transaction. */
  readonly decide: (draft: Draft) => () => void;
  readonly reject: (error: unknown) => void;
}

/** The committed rows with the changes of one transaction on top. */
class Draft {
  readonly events: NodeEvent[] = [];
  readonly #writes: (Key<unknown> & { readonly next: unknown; readonly previous: unknown })[] = [];
  readonly #rows = new Map<Table<unknown>, Map<string, unknown>>();

  get isEmpty(): boolean {
    return this.#writes.length === 0 && this.events.length === 0;
  }

  read({ table, id }: Key<unknown>): unknown {
    const changed = this.#rows.get(table);
    return changed?.has(id) === true ? changed.get(id) : table.get(id);
  }

  put({ table, id }: Key<unknown>, next: unknown): void {
    const previous = this.read({ table, id });
    this.#writes.push({ table, id, next, previous });
    const changed = this.#rows.get(table) ?? new Map<string, unknown>();
    this.#rows.set(table, changed.set(id, next));
  }

  write(): void {
    for (const { table, id, next, previous } of this.#writes) table.write(id, next, previous);
  }

  apply(): void {
    for (const [table, rows] of this.#rows) for (const [id, row] of rows) table.apply(id, row);
  }
}

/** Writes changes and batches of bookkeeping, and logs when the database starts and stops refusing writes. */
export class Committer {
  readonly #db: Db;
  readonly #log: Log;
  readonly #bus: Bus;
  readonly #history: NodeHistory;
  #waiting: Waiting[] = [];
  #isFailing = false;

  constructor(db: Db, log: Log, bus: Bus) {
    this.#db = db;
    this.#log = log;
    this.#bus = bus;
    this.#history = new NodeHistory(db);
  }

  /** Whether the last write failed, most likely because the disk is full. */
  get isFailing(): boolean {
    return this.#isFailing;
  }

  /**
   * Commits a change at the end of this turn of the event loop, together with all others. `decide` sees the changes that
   * were requested before it. Rejects with the database's error, which leaves every change of the transaction undone.
   */
  commit<const K extends Keys, T>(keys: K, decide: Decide<K, T>): Promise<T> {
    if (this.#waiting.length === 0) setImmediate(() => this.flush());
    return new Promise((resolve, reject) => {
      this.#waiting.push(change(keys, decide, resolve, reject));
      if (this.#waiting.length >= BATCH_MAX) this.flush();
    });
  }

  /** As `commit`, but at once and together with everything that waits, for a caller that cannot wait. Throws. */
  commitNow<const K extends Keys, T>(keys: K, decide: Decide<K, T>): T {
    let settled: { readonly outcome: T } | { readonly error: unknown } | undefined;
    const resolve = (outcome: T): void => void (settled = { outcome });
    const reject = (error: unknown): void => void (settled = { error });
    this.#waiting.push(change(keys, decide, resolve, reject));
    this.flush();
    if ("outcome" in settled!) return settled.outcome;
    throw settled!.error;
  }

  /**
   * Writes a batch of bookkeeping in a transaction of its own, then updates memory by `apply`, then publishes. Returns
   * whether it was written: the caller tries again later.
   */
  batch(
    write: () => void,
    events: readonly NodeEvent[] = [],
    apply: () => void = () => {},
  ): boolean {
    const error = this.#transaction(() => {
      write();
      this.#history.append(events);
    });
    if (error !== undefined) return false;
    apply();
    this.#publish(events);
    return true;
  }

  /** Commits all waiting changes. */
  flush(): void {
    const waiting = this.#waiting;
    if (waiting.length === 0) return;
    this.#waiting = [];
    const draft = new Draft();
    const settle = waiting.map(({ decide }) => decide(draft));
    const error = draft.isEmpty ? undefined : this.#write(draft);
    if (error !== undefined) {
      for (const { reject } of waiting) reject(error);
      return;
    }
    draft.apply();
    this.#publish(draft.events);
    for (const resolve of settle) resolve();
  }

  #write(draft: Draft): Error | undefined {
    return this.#transaction(() => {
      draft.write();
      this.#history.append(draft.events);
    });
  }

  #transaction(write: () => void): Error | undefined {
    try {
      this.#db.transaction(write);
    } catch (err) {
      if (!this.#isFailing) this.#log.error({ err }, "the database refuses writes");
      this.#isFailing = true;
      return err as Error;
    }
    if (this.#isFailing) this.#log.info({}, "the database accepts writes again");
    this.#isFailing = false;
    return undefined;
  }

  #publish(events: readonly NodeEvent[]): void {
    for (const event of events) {
      const message =
        event.kind === "node.state" ? "node changed state" : event.kind.replace(".", " ");
      this.#log.info(payloadOf(event), message);
      this.#bus.publish(event);
    }
  }
}

function change<K extends Keys, T>(
  keys: K,
  decide: Decide<K, T>,
  resolve: (outcome: T) => void,
  reject: (error: unknown) => void,
): Waiting {
  return {
    reject,
    decide(draft) {
      const rows = Object.entries(keys).map(([name, key]) => [name, draft.read(key)]);
      try {
        const { outcome, next, events = [] } = decide(Object.fromEntries(rows) as RowsOf<K>);
        const changed: Readonly<Record<string, unknown>> = next ?? {};
        for (const [name, key] of Object.entries(keys))
          if (Object.hasOwn(changed, name)) draft.put(key, changed[name]);
        draft.events.push(...events);
        return () => resolve(outcome);
      } catch (error) {
        return () => reject(error);
      }
    },
  };
}
