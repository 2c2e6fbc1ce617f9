/** Kills `backup` and `restore` with strace before each system call that changes a file, one call per run. (H10) */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readBackup } from "../../src/db/backup.ts";
import { openDb } from "../../src/db/open.ts";
import { streams } from "../../src/db/schema.ts";

const COORDINATOR = join(import.meta.dir, "../../../../dist/fleet-coordinator");
const OPEN = join(import.meta.dir, "../../src/db/open.ts");
const CALLS =
  "rename fsync pwrite64 write ftruncate unlink mkdir chmod fchmod copy_file_range".split(" ");
const STEPS_MAX = 200;
const hasStrace = Bun.spawnSync(["strace", "-V"]).success;

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "fleet-cut-"));
});
afterEach(() => rmSync(dir, { recursive: true }));

/** Runs the coordinator with a kill before the `when`th such call of a thread. Reports whether it was killed. */
function killedAt(call: string, when: number, args: readonly string[]): boolean {
  const inject = `inject=${call}:signal=SIGKILL:when=${when}`;
  const strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", `trace=${call}`, "-e", inject];
  const { exitCode, signalCode, stderr } = Bun.spawnSync([...strace, COORDINATOR, ...args]);
  if (signalCode === "SIGKILL" || exitCode === 137) return true;
  expect([exitCode, stderr.toString()]).toEqual([0, ""]);
  return false;
}

/** Calls `cut` for every step of every call. Returns the number of steps. */
function walk(cut: (call: string, when: number) => boolean): number {
  let steps = 0;
  for (const call of CALLS) for (let when = 1; cut(call, when); when++) steps++;
  expect(steps).toBeLessThan(STEPS_MAX);
  return steps;
}

/** Commits to the write-ahead log only, because the kill prevents a checkpoint. */
const KILLED = `
  const { openDb } = await import(process.argv[1]);
  const { db } = openDb(process.argv[2]);
  db.$client.run("INSERT INTO streams VALUES ('n.s', 'n', 'x', ?)", [Number(process.argv[3])]);
  process.kill(process.pid, "SIGKILL");`;

/** Creates a data directory as a killed coordinator leaves it, with `acked` in its database and its key. */
function makeData(data: string, acked: number): void {
  Bun.spawnSync([process.execPath, "-e", KILLED, OPEN, data, String(acked)]);
  writeFileSync(join(data, "jwt.key"), `key ${acked}`);
}

/** Returns the acked number that a coordinator would find there, or "interrupted" if it would refuse to start. */
function knownIn(data: string): number | undefined | "interrupted" {
  try {
    const opened = openDb(data);
    const acked = opened.db.select().from(streams).get()?.ackedSeq;
    opened.close();
    return acked;
  } catch (error) {
    if ((error as Error).message.includes("a restore was interrupted")) return "interrupted";
    throw error;
  }
}

describe.skipIf(!hasStrace)("killed before any change of a file,", () => {
  test("a restore leaves the old database, the new one, or one that no coordinator starts with; a second restore succeeds", () => {
    const file = join(dir, "fleet.backup");
    const origin = join(dir, "origin");
    makeData(origin, 7);
    expect(Bun.spawnSync([COORDINATOR, "backup", file, "--data-dir", origin]).success).toBe(true);
    const template = join(dir, "template");
    makeData(template, 9);
    const seen = new Set<unknown>();
    const steps = walk((call, when) => {
      const data = join(dir, `${call}-${when}`);
      cpSync(template, data, { recursive: true });
      const args = ["restore", file, "--data-dir", data, "--force"];
      const wasKilled = killedAt(call, when, args);
      const known = knownIn(data);
      expect(wasKilled ? [7, 9, "interrupted"] : [7]).toContain(known!);
      seen.add(known);
      expect(Bun.spawnSync([COORDINATOR, ...args]).success).toBe(true);
      expect(knownIn(data)).toBe(7);
      expect(readFileSync(join(data, "jwt.key"), "utf8")).toBe("key 7");
      // The previous files are still there, all in one place.
      const aside = readdirSync(data)
        .toSorted()
        .map((name) => join(data, name))
        .filter((path) => path.includes("replaced-") && readdirSync(path).length > 0);
      const first = aside[0]!;
      expect([knownIn(first), readFileSync(join(first, "jwt.key"), "utf8")]).toEqual([9, "key 9"]);
      rmSync(data, { recursive: true });
      return wasKilled;
    });
    expect(steps).toBeGreaterThan(20);
    expect(seen).toEqual(new Set([7, 9, "interrupted"]));
  });

  test("a backup leaves the last one intact or is complete; files beside it are readable only by their owner", () => {
    const data = join(dir, "data");
    makeData(data, 7);
    const out = join(dir, "out");
    mkdirSync(out);
    const file = join(out, "fleet.backup");
    const args = ["backup", file, "--data-dir", data];
    expect(Bun.spawnSync([COORDINATOR, ...args]).success).toBe(true);
    const steps = walk((call, when) => {
      const wasKilled = killedAt(call, when, args);
      expect(readBackup(file).keys).toEqual(["jwt.key"]);
      for (const name of readdirSync(out)) expect(statSync(join(out, name)).mode & 0o077).toBe(0);
      return wasKilled;
    });
    expect(steps).toBeGreaterThan(20);
  });
});
