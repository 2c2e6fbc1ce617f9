import { expect, test } from "bun:test";
import { chmodSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { tempDir } from "../testing.ts";
import { DatabaseDamagedError } from "./damage.ts";
import { DataDirError } from "./data-dir.ts";
import { openDb } from "./open.ts";
import * as schema from "./schema.ts";

const HOLDER = `
  const { openDb } = await import(process.argv[1]);
  openDb(process.argv[2]);
  Bun.gc(true);
  process.stdout.write("open\\n");
  await new Promise(() => setInterval(() => {}, 1000));
`;

/** A process that holds the directory until it is killed, at the latest at the end of the block. */
async function holderOf(dir: string): Promise<AsyncDisposable> {
  const holder = Bun.spawn(
    [process.execPath, "-e", HOLDER, join(import.meta.dirname, "open.ts"), dir],
    { stdin: "ignore", stdout: "pipe", stderr: "inherit" },
  );
  await holder.stdout.getReader().read();
  return {
    async [Symbol.asyncDispose]() {
      holder.kill("SIGKILL");
      await holder.exited;
    },
  };
}

function thrownBy(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    return error;
  }
  throw new Error("nothing was thrown");
}

test("a missing directory is created, readable by its owner only, and keeps its data (R1)", () => {
  using dir = tempDir();
  const path = join(dir.path, "a", "b");
  const first = openDb(path);
  first.db.$client.run("INSERT INTO streams VALUES ('n.s', 'n', 'x', 7)");
  first.close();
  expect(statSync(path).mode & 0o777).toBe(0o700);
  const second = openDb(path);
  expect(second.db.select().from(schema.streams).all()).toEqual([
    { streamId: "n.s", nodeId: "n", spoolId: "x", ackedSeq: 7 },
  ]);
  second.close();
});

test("a directory that another process holds is refused with its name until that process has ended, however it ends", async () => {
  using dir = tempDir();
  {
    await using _holder = await holderOf(dir.path);
    const error = thrownBy(() => openDb(dir.path));
    expect(error).toBeInstanceOf(DataDirError);
    expect((error as Error).message).toBe(
      `data directory ${dir.path} is in use by another coordinator`,
    );
  }
  openDb(dir.path).close();
});

/** A process in another pid namespace. */
const UNSHARE = ["unshare", "--user", "--map-root-user", "--pid", "--fork"];

test.skipIf(!Bun.spawnSync([...UNSHARE, "true"]).success)(
  "a directory is held between containers that share a volume, too",
  async () => {
    using dir = tempDir();
    await using _holder = await holderOf(dir.path);
    const script = `
      const { openDb } = await import(process.argv[1]);
      try { openDb(process.argv[2]) } catch (error) { console.log(process.pid, error.code) }`;
    const open = join(import.meta.dirname, "open.ts");
    const { stdout } = Bun.spawnSync([...UNSHARE, process.execPath, "-e", script, open, dir.path]);
    expect(stdout.toString()).toBe("1 data_dir_in_use\n");
  },
);

test("a refused opening leaves nothing open: after the first is closed, the next one succeeds", () => {
  using dir = tempDir();
  const first = openDb(dir.path);
  expect(() => openDb(dir.path)).toThrow("in use by another coordinator");
  first.close();
  openDb(dir.path).close();
});

test("an unusable data directory, or a file that is not a database, is refused with the reason", () => {
  using dir = tempDir();
  const file = join(dir.path, "file");
  writeFileSync(file, "");
  expect(thrownBy(() => openDb(join(file, "data")))).toBeInstanceOf(DataDirError);
  for (const path of [file, join(file, "data")])
    expect(() => openDb(path)).toThrow(`data directory ${path} is not a directory`);
  expect(() => openDb("/proc/fleet")).toThrow("data directory /proc/fleet does not exist");

  writeFileSync(join(dir.path, "coordinator.db"), "this is not a database at all, but text");
  expect(thrownBy(() => openDb(dir.path))).toBeInstanceOf(DatabaseDamagedError);
});

test.skipIf(process.getuid!() !== 0)(
  "a directory that may not be written is named with its owner and our uid, also one above it",
  () => {
    using dir = tempDir();
    chmodSync(dir.path, 0o755);
    const script = `
      const { openDb } = await import(process.argv[1]);
      process.setgroups([]);
      process.setgid(65532);
      process.setuid(65532);
      for (const dir of process.argv.slice(2)) try { openDb(dir) } catch (e) { console.log(e.message) }`;
    const [there, missing] = [dir.path, join(dir.path, "a", "b")];
    const open = join(import.meta.dirname, "open.ts");
    const { stdout } = Bun.spawnSync([process.execPath, "-e", script, open, there, missing]);
    const owner = `can't be written by uid 65532: ${dir.path} belongs to uid 0 (mode 0755)`;
    expect(stdout.toString()).toBe(
      `data directory ${there} ${owner}\ndata directory ${missing} ${owner}\n`,
    );
  },
);

test("commits are synced to disk: WAL, synchronous FULL (R1)", () => {
  using dir = tempDir();
  const opened = openDb(dir.path);
  const pragma = (name: string): unknown =>
    Object.values(opened.db.$client.query(`PRAGMA ${name}`).get() as object)[0];
  expect([pragma("journal_mode"), pragma("synchronous")]).toEqual(["wal", 2]);
  opened.close();
});

test("only the owner can read its files, whatever the directory's mode", () => {
  using dir = tempDir();
  chmodSync(dir.path, 0o755);
  const opened = openDb(dir.path);
  const files = readdirSync(dir.path).filter((name) => name.startsWith("coordinator.db"));
  expect(files.toSorted()).toEqual(["coordinator.db", "coordinator.db-shm", "coordinator.db-wal"]);
  for (const name of files) expect(statSync(join(dir.path, name)).mode & 0o777).toBe(0o600);
  opened.close();
});
