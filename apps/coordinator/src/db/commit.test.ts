import { describe, expect, test } from "bun:test";
import { settle } from "@fleet/daemon/testing";
import { Bus, type NodeEvent, topicOf } from "../bus.ts";
import { nodeId, RecordingLog, refuseWrites } from "../testing.ts";
import { BATCH_MAX, Committer, type Decision, type Key, type Table } from "./commit.ts";
import { NodeHistory } from "./node-history.ts";
import { MEMORY, openDb } from "./open.ts";

type CountKeys = { readonly count: Key<number> };

/** Counters by name, in memory and in a table of their own, and all that is seen from outside. */
class Rig {
  readonly db = openDb(MEMORY).db;
  readonly log = new RecordingLog();
  readonly bus = new Bus();
  readonly commits = new Committer(this.db, this.log, this.bus);
  readonly memory = new Map<string, number>();
  /** What happened, in order: `write a 1`, `apply a 1`, `publish node.a.blocked`. */
  readonly steps: string[] = [];
  readonly table: Table<number>;
  transactions = 0;

  constructor() {
    this.db.$client.run("CREATE TABLE counters (name TEXT PRIMARY KEY, count INTEGER NOT NULL)");
    const begin = this.db.transaction.bind(this.db);
    this.db.transaction = (...args) => {
      this.transactions++;
      return begin(...args);
    };
    this.bus.subscribe(">", (event) => this.steps.push(`publish ${topicOf(event)}`));
    this.table = {
      get: (id) => this.memory.get(id),
      write: (id, next, previous) => {
        this.steps.push(`write ${id} ${previous}→${next}`);
        this.db.$client.run("DELETE FROM counters WHERE name = ?", [id]);
        if (next !== undefined)
          this.db.$client.run("INSERT INTO counters VALUES (?, ?)", [id, next]);
      },
      apply: (id, next) => {
        this.steps.push(`apply ${id} ${next}`);
        if (next === undefined) this.memory.delete(id);
        else this.memory.set(id, next);
      },
    };
  }

  keys(id: string): CountKeys {
    return { count: { table: this.table, id } };
  }

  /** Counts one up and returns the count. */
  increment(id: string): Promise<number> {
    return this.commits.commit(this.keys(id), ({ count = 0 }) => incremented(id, count));
  }

  onDisk(): unknown {
    return this.db.$client.query("SELECT name, count FROM counters ORDER BY name").values();
  }
}

function incremented(id: string, count: number): Decision<CountKeys, number> {
  return { outcome: count + 1, next: { count: count + 1 }, events: [blocked(id)] };
}

function blocked(id: string): NodeEvent {
  return { kind: "node.blocked", nodeId: nodeId(id), atMs: 1, data: {} };
}

describe("changes of one turn of the event loop", () => {
  test("share a transaction, which is written first, then applied, then published", async () => {
    const rig = new Rig();
    const outcomes = [rig.increment("a"), rig.increment("b")];
    expect([rig.transactions, rig.steps]).toEqual([0, []]);
    expect(await Promise.all(outcomes)).toEqual([1, 1]);
    expect(rig.transactions).toBe(1);
    expect(rig.steps).toEqual([
      "write a undefined→1",
      "write b undefined→1",
      "apply a 1",
      "apply b 1",
      "publish node.a.blocked",
      "publish node.b.blocked",
    ]);
    expect(rig.onDisk()).toEqual([
      ["a", 1],
      ["b", 1],
    ]);
    const history = new NodeHistory(rig.db).list(nodeId("a"), 10);
    expect(history).toEqual([{ at: 1, event: "blocked", data: {} }]);
    expect(rig.log.count("node blocked")).toBe(2);
  });

  test("build on each other: each sees the rows that those before it have decided", async () => {
    const rig = new Rig();
    const removed = rig.increment("a");
    const deleted = rig.commits.commit(rig.keys("a"), ({ count }) => ({
      outcome: count,
      next: { count: undefined },
    }));
    const again = rig.commits.commit(rig.keys("a"), ({ count }) => ({ outcome: count }));
    expect(await Promise.all([removed, deleted, again])).toEqual([1, 1, undefined]);
    expect(await Promise.all([rig.increment("a"), rig.increment("a")])).toEqual([1, 2]);
    expect([rig.onDisk(), rig.memory.get("a")]).toEqual([[["a", 2]], 2]);
  });

  test("fail together: every caller gets the error, and neither memory nor subscribers see anything", async () => {
    const rig = new Rig();
    await rig.increment("a");
    rig.steps.length = 0;
    refuseWrites(rig.db, true);
    const reads = rig.commits.commit(rig.keys("a"), ({ count }) => ({ outcome: count }));
    const all = [rig.increment("a"), rig.increment("b"), reads];
    for (const error of await Promise.all(all.map((outcome) => outcome.catch(String))))
      expect(error).toContain("readonly");
    expect(rig.steps.filter((step) => !step.startsWith("write"))).toEqual([]);
    expect(rig.memory).toEqual(new Map([["a", 1]]));
    expect([rig.commits.isFailing, rig.log.count("the database refuses writes")]).toEqual([
      true,
      1,
    ]);
    refuseWrites(rig.db, false);
    expect(await rig.increment("a")).toBe(2);
    expect(rig.commits.isFailing).toBe(false);
    expect(rig.log.count("the database accepts writes again")).toBe(1);
  });

  test("that write nothing open no transaction, and don't count as a database that works again", async () => {
    const rig = new Rig();
    refuseWrites(rig.db, true);
    await rig.increment("a").catch(() => {});
    rig.transactions = 0;
    const outcome = rig.commits.commit(rig.keys("a"), ({ count }) => ({ outcome: count }));
    expect(await outcome).toBeUndefined();
    expect([rig.transactions, rig.commits.isFailing]).toEqual([0, true]);
  });

  test("are not held up by one whose decision throws", async () => {
    const rig = new Rig();
    const bad = rig.commits.commit(rig.keys("a"), () => {
      throw new Error("a bug");
    });
    const good = rig.increment("a");
    expect(await bad.catch(String)).toContain("a bug");
    expect(await good).toBe(1);
  });

  test("are written as soon as there are BATCH_MAX, and the rest at the end of the turn", async () => {
    const rig = new Rig();
    const all = Array.from({ length: BATCH_MAX + 1 }, () => rig.increment("a"));
    expect([rig.transactions, rig.memory.get("a")]).toEqual([1, BATCH_MAX]);
    await Promise.all(all);
    expect([rig.transactions, rig.memory.get("a")]).toEqual([2, BATCH_MAX + 1]);
  });
});

describe("a change that can't wait", () => {
  test("is on disk when the call returns, after those that waited", async () => {
    const rig = new Rig();
    const before = rig.increment("a");
    expect(rig.commits.commitNow(rig.keys("a"), ({ count = 0 }) => incremented("a", count))).toBe(
      2,
    );
    expect(rig.onDisk()).toEqual([["a", 2]]);
    expect(await before).toBe(1);
    await settle();
    expect(rig.transactions).toBe(1);
  });

  test("throws the database's error", () => {
    const rig = new Rig();
    refuseWrites(rig.db, true);
    const write = () => rig.commits.commitNow(rig.keys("a"), () => incremented("a", 0));
    expect(write).toThrow(/readonly/);
    expect(rig.memory.size).toBe(0);
  });
});

describe("a batch of bookkeeping", () => {
  test("is applied and published once it is written, and not at all when it can't be", () => {
    const rig = new Rig();
    const apply = (): void => void rig.steps.push("apply");
    expect(rig.commits.batch(() => rig.steps.push("write"), [blocked("a")], apply)).toBe(true);
    expect(rig.steps).toEqual(["write", "apply", "publish node.a.blocked"]);
    refuseWrites(rig.db, true);
    rig.steps.length = 0;
    expect(rig.commits.batch(() => {}, [blocked("a")], apply)).toBe(false);
    expect(rig.steps).toEqual([]);
  });
});
