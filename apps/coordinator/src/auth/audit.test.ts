import { describe, expect, test } from "bun:test";
import { FakeClock } from "@fleet/daemon/testing";
import { type Db, MEMORY, openDb } from "../db/open.ts";
import { audit as table } from "../db/schema.ts";
import { RecordingLog, refuseWrites } from "../testing.ts";
import { Audit } from "./audit.ts";
import { makeToken } from "./secret-text.ts";

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;

function act(subject: string, outcome = "ok") {
  return { actor: "boss", address: "192.0.2.1", action: "POST /x", subject, outcome };
}

class Rig {
  readonly clock = new FakeClock();
  readonly log = new RecordingLog();
  readonly db: Db = openDb(MEMORY).db;
  readonly audit: Audit;

  constructor(limits?: { rowsMax: number; keepMs: number }) {
    this.audit = new Audit(this.db, this.clock, this.log, limits);
    this.audit.start();
  }

  get written(): (string | null)[] {
    return this.db
      .select()
      .from(table)
      .all()
      .map((row) => row.subject);
  }
}

describe("the audit log (H5)", () => {
  test("writes an operator's act at once, and an agent's within a second", () => {
    const rig = new Rig();
    rig.audit.record(act("a"));
    expect(rig.written).toEqual(["a"]);
    rig.audit.recordSoon(act("b"));
    expect(rig.written).toEqual(["a"]);
    rig.clock.advance(1000);
    expect(rig.written).toEqual(["a", "b"]);
  });

  test("records a repeated act of an agent once an hour, and every different one", () => {
    const rig = new Rig();
    const soon = (subject: string, address = "192.0.2.1"): void => {
      rig.audit.recordSoon({ ...act(subject), address });
      rig.clock.advance(1000);
    };
    for (let i = 0; i < 5; i++) soon("a");
    soon("b");
    soon("a", "192.0.2.9");
    expect(rig.written).toEqual(["a", "b", "a"]);
    rig.clock.advance(HOUR_MS);
    soon("a");
    expect(rig.written).toEqual(["a", "b", "a", "a"]);
    for (const _ of [1, 2]) rig.audit.record(act("operator"));
    expect(rig.written.slice(-2)).toEqual(["operator", "operator"]);
  });

  test("remembers the latest 20 000 acts of agents", () => {
    const rig = new Rig();
    for (let i = 0; i <= 20_000; i++) {
      rig.audit.recordSoon(act(String(i)));
      if (i % 5000 === 0) rig.clock.advance(1000);
    }
    rig.clock.advance(1000);
    rig.audit.recordSoon(act("1"));
    rig.audit.recordSoon(act("0"));
    rig.clock.advance(1000);
    expect(rig.written).toHaveLength(20_002);
    expect(rig.written.at(-1)).toBe("0");
  });

  test("holds no token, even if one was sent in place of an id", () => {
    const rig = new Rig();
    const token = makeToken("push");
    rig.audit.record(act(`x${token}y`));
    expect(rig.written).toEqual(["xfle_p_…y"]);
    expect(JSON.stringify(rig.log.lines)).not.toContain(token);
  });

  test("lists entries page by page, newest first", () => {
    const rig = new Rig();
    for (const subject of ["a", "b", "c"]) rig.audit.record(act(subject, `was ${subject}`));
    const first = rig.audit.list(2);
    expect(first.entries.map((e) => e.subject)).toEqual(["c", "b"]);
    expect(first.entries[0]).toEqual({ ...act("c", "was c"), at: rig.clock.nowMs(), id: 3 });
    const second = rig.audit.list(2, first.next_cursor);
    expect(second).toEqual({ entries: [{ ...act("a", "was a"), at: rig.clock.nowMs(), id: 1 }] });
  });

  test("keeps entries that a full disk refused, and writes them in order later", () => {
    const rig = new Rig();
    refuseWrites(rig.db, true);
    rig.audit.record(act("a"));
    rig.audit.record(act("b"));
    expect(rig.log.count("can't write the audit log")).toBe(1);
    refuseWrites(rig.db, false);
    rig.clock.advance(1000);
    expect(rig.written).toEqual(["a", "b"]);
    expect(rig.audit.lost).toBe(0);
  });

  test("drops and counts the oldest of more than ten thousand waiting entries", () => {
    const rig = new Rig();
    refuseWrites(rig.db, true);
    for (let i = 0; i < 10_003; i++) rig.audit.recordSoon(act(String(i)));
    refuseWrites(rig.db, false);
    rig.clock.advance(1000);
    expect([rig.audit.lost, rig.written.length, rig.written[0]]).toEqual([3, 10_000, "3"]);
  });

  test("keeps the newest rowsMax entries", () => {
    const rig = new Rig({ rowsMax: 3, keepMs: DAY_MS });
    for (const subject of ["a", "b", "c", "d", "e"]) rig.audit.record(act(subject));
    expect(rig.written).toEqual(["c", "d", "e"]);
  });

  test("deletes old entries in small steps, so that a wrong clock does not erase the log", async () => {
    const rig = new Rig({ rowsMax: 10_000, keepMs: DAY_MS });
    for (let i = 0; i < 2500; i++) rig.audit.recordSoon(act(String(i)));
    rig.clock.advance(1000);
    rig.clock.jumpWall(365 * DAY_MS);
    rig.clock.advance(HOUR_MS);
    expect(rig.written[0]).toBe("1000");
    await rig.audit.stop();
  });
});
