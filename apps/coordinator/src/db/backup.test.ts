import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { RADAR, Rig as Nodes } from "../registry/testing.ts";
import { instanceId, registration, tempDir } from "../testing.ts";
import { backUp, BackupError, readBackup } from "./backup.ts";
import { DatabaseDamagedError } from "./damage.ts";
import { DATABASE_FILE, DataDirError, RESTORING_FILE } from "./data-dir.ts";
import { DatabaseTooNewError } from "./migrations.ts";
import { openDb, type OpenedDb } from "./open.ts";
import { restore } from "./restore.ts";
import { streams, trackers } from "./schema.ts";

const AT_MS = 1_783_500_000_000;
const VERSION = "1.2.3";
const OPEN = join(import.meta.dirname, "open.ts");

/** A data directory with one stream and a key, a path for its backup, and both commands. */
class Rig implements Disposable {
  readonly #dir = tempDir();
  readonly data = join(this.#dir.path, "data");
  readonly out = join(this.#dir.path, "out");
  readonly file = join(this.out, "fleet.backup");

  constructor() {
    mkdirSync(this.out);
    const opened = openDb(this.data);
    setAcked(opened, 7);
    opened.close();
    writeFileSync(join(this.data, "jwt.key"), "the key of that day", { mode: 0o600 });
  }

  backUp(): ReturnType<typeof backUp> {
    return backUp({ dataDir: this.data, file: this.file, nowMs: AT_MS, version: VERSION });
  }

  restore(dataDir: string, force = false): ReturnType<typeof restore> {
    return restore({ file: this.file, dataDir, force, nowMs: AT_MS });
  }

  [Symbol.dispose](): void {
    this.#dir[Symbol.dispose]();
  }
}

function setAcked({ db }: OpenedDb, ackedSeq: number): void {
  const row = { streamId: "n.s", nodeId: "n", spoolId: "x", ackedSeq };
  db.insert(streams).values(row).onConflictDoUpdate({ target: streams.streamId, set: row }).run();
}

function ackedIn(dataDir: string): number | undefined {
  const opened = openDb(dataDir);
  const acked = opened.db.select().from(streams).get()?.ackedSeq;
  opened.close();
  return acked;
}

function thrownBy(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    return error;
  }
  throw new Error("nothing was thrown");
}

/** Writes two equal numbers in each transaction, as fast as it can. */
const WRITER = `
  const { openDb } = await import(process.argv[1]);
  const { db } = openDb(process.argv[2]);
  const insert = db.$client.query("INSERT OR REPLACE INTO streams VALUES (?, 'n', 'x', ?)");
  for (let n = 1; ; n++) {
    db.$client.transaction(() => ["n.a", "n.b"].forEach((id) => insert.run(id, n)))();
    if (n === 1) process.stdout.write("writing\\n");
  }`;

describe("a backup (H10)", () => {
  test("taken while a coordinator writes is a consistent snapshot, never older than the previous one", async () => {
    using rig = new Rig();
    await using writer = Bun.spawn([process.execPath, "-e", WRITER, OPEN, rig.data], {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "inherit",
    });
    await writer.stdout.getReader().read();
    let last = 0;
    for (let i = 0; i < 5; i++) {
      rig.backUp();
      const sqlite = new Database(rig.file, { readonly: true });
      const sql = "SELECT acked_seq FROM streams WHERE stream_id IN ('n.a', 'n.b')";
      const [[a], [b]] = sqlite.query(sql).values() as [[number], [number]];
      sqlite.close();
      expect(a).toBe(b);
      expect(a).toBeGreaterThanOrEqual(last);
      last = a;
    }
    expect(writer.exitCode).toBeNull();
  });

  test("is one file that only its owner can read, and reports its contents", () => {
    using rig = new Rig();
    const before = process.umask(0);
    const contents = rig.backUp();
    process.umask(before);
    expect(contents).toEqual({
      bytes: statSync(rig.file).size,
      schema: expect.any(Number) as number,
      nodes: 0,
      keys: ["jwt.key"],
      atMs: AT_MS,
      version: VERSION,
    });
    expect(statSync(rig.file).mode & 0o777).toBe(0o600);
    expect(readdirSync(rig.out)).toEqual(["fleet.backup"]);
  });

  test("replaces an earlier backup but no other file", () => {
    using rig = new Rig();
    rig.backUp();
    rig.backUp();
    writeFileSync(rig.file, "my diary");
    expect(thrownBy(() => rig.backUp())).toBeInstanceOf(BackupError);
    expect(readFileSync(rig.file, "utf8")).toBe("my diary");
    expect(readdirSync(rig.out)).toEqual(["fleet.backup"]);
  });

  test("that fails leaves no files behind and the previous backup unchanged", () => {
    using rig = new Rig();
    rig.backUp();
    const before = readFileSync(rig.file);
    const database = join(rig.data, DATABASE_FILE);
    const bytes = readFileSync(database);
    writeFileSync(database, bytes.fill(0xa5, 4096));
    const error = thrownBy(() => rig.backUp());
    expect(error).toBeInstanceOf(DatabaseDamagedError);
    expect((error as Error).message).toContain(database);
    rmSync(database);
    expect(() => rig.backUp()).toThrow(`there is no coordinator.db in ${rig.data}`);
    expect(readFileSync(rig.file)).toEqual(before);
    expect(readdirSync(rig.out)).toEqual(["fleet.backup"]);
  });

  test("into a missing directory is refused with its name", () => {
    using rig = new Rig();
    rmSync(rig.out, { recursive: true });
    expect(() => rig.backUp()).toThrow(`${rig.file} does not exist`);
  });
});

describe("restoring a backup (H10)", () => {
  test("restores the database and keys, readable by their owner only", () => {
    using rig = new Rig();
    rig.backUp();
    const target = join(rig.out, "new");
    expect(rig.restore(target).movedTo).toBeUndefined();
    expect(ackedIn(target)).toBe(7);
    expect(readFileSync(join(target, "jwt.key"), "utf8")).toBe("the key of that day");
    for (const name of ["jwt.key", DATABASE_FILE])
      expect(statSync(join(target, name)).mode & 0o777).toBe(0o600);
    expect(() => readBackup(join(target, DATABASE_FILE))).toThrow("is not a backup");
  });

  test("over a database is refused without force; with it, the previous files are moved aside completely", () => {
    using rig = new Rig();
    rig.backUp();
    // Its last commit is only in the write-ahead log.
    const script = `
      const { openDb } = await import(process.argv[1]);
      openDb(process.argv[2]).db.$client.run("UPDATE streams SET acked_seq = 9");
      process.kill(process.pid, "SIGKILL");`;
    Bun.spawnSync([process.execPath, "-e", script, OPEN, rig.data]);
    writeFileSync(join(rig.data, "jwt.key"), "a newer key");

    expect(thrownBy(() => rig.restore(rig.data))).toBeInstanceOf(BackupError);
    expect(readFileSync(join(rig.data, "jwt.key"), "utf8")).toBe("a newer key");
    const { movedTo } = rig.restore(rig.data, true);
    expect(ackedIn(rig.data)).toBe(7);
    expect(readFileSync(join(rig.data, "jwt.key"), "utf8")).toBe("the key of that day");
    expect(movedTo).toStartWith(rig.data);
    expect(ackedIn(movedTo!)).toBe(9);
    expect(readFileSync(join(movedTo!, "jwt.key"), "utf8")).toBe("a newer key");
  });

  test("into a directory that a coordinator uses is refused", () => {
    using rig = new Rig();
    rig.backUp();
    const opened = openDb(rig.data);
    const error = thrownBy(() => rig.restore(rig.data, true)) as DataDirError;
    expect(error).toBeInstanceOf(DataDirError);
    expect(error.code).toBe("data_dir_in_use");
    opened.close();
    rig.restore(rig.data, true);
  });

  test("changes nothing if the file is damaged, truncated, not a backup, or of a newer version", () => {
    using rig = new Rig();
    rig.backUp();
    const whole = readFileSync(rig.file);
    const refusal = (): unknown => thrownBy(() => rig.restore(rig.data, true));
    const listing = readdirSync(rig.data).toSorted();
    for (let page = 1; page < whole.length / 4096; page++) {
      writeFileSync(rig.file, Buffer.from(whole).fill(0xa5, page * 4096, (page + 1) * 4096));
      expect(refusal()).toBeInstanceOf(DatabaseDamagedError);
    }
    writeFileSync(rig.file, whole);
    truncateSync(rig.file, whole.length - 4096);
    expect(refusal()).toBeInstanceOf(DatabaseDamagedError);
    writeFileSync(rig.file, "no database");
    expect(refusal()).toBeInstanceOf(BackupError);
    writeFileSync(rig.file, whole);
    const sqlite = new Database(rig.file);
    sqlite.run("PRAGMA user_version = 99");
    sqlite.close();
    expect(refusal()).toBeInstanceOf(DatabaseTooNewError);
    expect(readdirSync(rig.data).toSorted()).toEqual(listing);
    expect(ackedIn(rig.data)).toBe(7);
  });

  test("that was interrupted is completed by running it again, and no coordinator starts before that", () => {
    using rig = new Rig();
    rig.backUp();
    // As after a kill between moving the old database away and renaming the new one.
    renameSync(join(rig.data, DATABASE_FILE), join(rig.data, RESTORING_FILE));
    expect(() => openDb(rig.data)).toThrow("a restore was interrupted; run it again");
    rig.restore(rig.data);
    expect(ackedIn(rig.data)).toBe(7);
  });

  test("gives trackers run numbers above any that may have been used since (T5)", () => {
    using rig = new Rig();
    const opened = openDb(rig.data);
    const row = { streamId: "n.s", source: "auto", run: 3, createdAt: 1 } as const;
    opened.db.insert(trackers).values(row).run();
    opened.close();
    rig.backUp();
    rig.restore(rig.data, true);
    const again = openDb(rig.data);
    expect(again.db.select().from(trackers).get()?.run).toBeGreaterThan(1_000_000);
    again.close();
  });

  test("issues no epoch again: instances superseded since the backup stay so, and the current one keeps the node (R9)", async () => {
    using rig = new Rig();
    const register = async ({ db }: OpenedDb, ...instances: string[]): Promise<Nodes> => {
      const nodes = new Nodes({}, { db });
      for (const instance of instances) await nodes.register(instance);
      return nodes;
    };
    const before = openDb(rig.data);
    await register(before, "i1");
    before.close();
    rig.backUp();
    const since = openDb(rig.data);
    expect((await register(since, "i2", "i3")).row()?.epoch).toBe(3);
    since.close();
    rig.restore(rig.data, true);
    const again = openDb(rig.data);
    const { registry } = await register(again);
    expect(registry.standing(RADAR, instanceId("i1"), 1)).toBe("current");
    expect(registry.standing(RADAR, instanceId("i3"), 3)).toBe("unknown");
    const outcome = await registry.register(registration({ node_id: RADAR, instance_id: "i3" }));
    expect((outcome as { epoch: number }).epoch).toBeGreaterThan(1_000_000);
    expect(registry.standing(RADAR, instanceId("i2"), 2)).toBe("superseded");
    expect(registry.standing(RADAR, instanceId("i1"), 1)).toBe("superseded");
    again.close();
  });

  test.skipIf(process.getuid!() !== 0)("by root gives the files to the directory's owner", () => {
    using rig = new Rig();
    rig.backUp();
    const target = join(rig.out, "new");
    mkdirSync(target);
    chmodSync(target, 0o700);
    Bun.spawnSync(["chown", "65532:65532", target]);
    rig.restore(target);
    for (const name of readdirSync(target))
      expect([name, statSync(join(target, name)).uid]).toEqual([name, 65532]);
  });
});
