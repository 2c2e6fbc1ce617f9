import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Log } from "@fleet/daemon";
import { type LogLine, recordingLog } from "../testing.ts";
import { StateDirInUseError, takeStateDir } from "./state-dir-lock.ts";

let dir: string;
let log: Log;
let lines: LogLine[];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "state-"));
  ({ log, lines } = recordingLog());
});

afterEach(() => rmSync(dir, { recursive: true }));

const HOLDER = `
  const { takeStateDir } = await import(process.argv[1]);
  takeStateDir(process.argv[2], "hill", console);
  console.log("has it");
  setInterval(() => {}, 1000);`;

/** A process in another pid namespace. */
const UNSHARE = ["unshare", "--user", "--map-root-user", "--pid", "--fork"];
const hasNamespaces = Bun.spawnSync([...UNSHARE, "true"]).success;

async function holder(): Promise<Bun.Subprocess<"ignore", "pipe", "inherit">> {
  const script = join(import.meta.dir, "state-dir-lock.ts");
  const child = Bun.spawn([process.execPath, "-e", HOLDER, script, dir], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await child.stdout.getReader().read();
  return child;
}

describe("a state directory (A14)", () => {
  test("that another agent has locked is refused, and the holder is named", async () => {
    await using child = await holder();
    expect(() => takeStateDir(dir, "here", log)).toThrow(StateDirInUseError);
    expect(() => takeStateDir(dir, "here", log)).toThrow(`pid ${child.pid} on hill`);
  });

  test("is free again as soon as its agent has gone, however it went", async () => {
    await using child = await holder();
    child.kill("SIGKILL");
    await child.exited;
    await using next = await holder();
    expect(() => takeStateDir(dir, "here", log)).toThrow(`pid ${next.pid} on hill`);
  });

  test.skipIf(!hasNamespaces)("is held across containers that share a volume", async () => {
    await using child = await holder();
    const script = `
      const { takeStateDir } = await import(process.argv[1]);
      try { takeStateDir(process.argv[2], "other", console) } catch (e) { console.log(process.pid, e.code) }`;
    const file = join(import.meta.dir, "state-dir-lock.ts");
    const { stdout } = Bun.spawnSync([...UNSHARE, process.execPath, "-e", script, file, dir]);
    child.kill("SIGKILL");
    await child.exited;
    expect(stdout.toString()).toMatch(/^1 state_dir_in_use\n$/);
  });

  test("without support for locks is used without a lock, and that is logged", () => {
    mkdirSync(join(dir, "agent.lock"));
    takeStateDir(dir, "here", log);
    expect(lines.map(({ level }) => level)).toEqual(["warn"]);
  });

  test("a lock file is for us alone, and no link to another file is followed", () => {
    takeStateDir(dir, "here", log);
    expect(statSync(join(dir, "agent.lock")).mode & 0o777).toBe(0o600);
    const other = mkdtempSync(join(dir, "other-"));
    chmodSync(other, 0o700);
    symlinkSync(join(dir, "precious"), join(other, "agent.lock"));
    takeStateDir(other, "here", log);
    expect(() => statSync(join(dir, "precious"))).toThrow();
  });
});
