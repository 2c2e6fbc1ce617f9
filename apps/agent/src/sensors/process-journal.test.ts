import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@fleet/daemon";
import { sensorNameSchema } from "@fleet/protocol";
import { processIdentity, type SpawnedProcess, systemSpawn } from "@fleet/supervisor";
import { ProcessJournal, type JournalEntry, readProcessJournal } from "./process-journal.ts";
import { endLeftovers } from "./end-leftovers.ts";
import { eventually, recordingLog } from "../testing.ts";

const RADAR = sensorNameSchema.parse("radar");
const PATH = process.env["PATH"] ?? "/usr/bin:/bin";

let dir: string;
let path: string;
const begun: SpawnedProcess[] = [];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "ledger-"));
  path = join(dir, "processes.json");
});

afterEach(async () => {
  for (const child of begun.splice(0)) {
    child.signalGroup("SIGKILL");
    await child.exited;
    child.stdout.close();
    child.stderr.close();
  }
  rmSync(dir, { recursive: true });
});

const stored = (): unknown => JSON.parse(readFileSync(path, "utf8"));

/** A running process of a sensor, with its entry. */
async function begin(script: string, sensor = "radar") {
  const child = systemSpawn({ command: ["sh", "-c", script], env: { PATH, FLEET_SENSOR: sensor } });
  begun.push(child);
  const said = new TextDecoder().decode(await child.stdout.read());
  const entry: JournalEntry = { ...processIdentity(child.pid)!, sensor: RADAR };
  return { child, entry, said: Number(said) };
}

const isAlive = (pid: number): boolean => processIdentity(pid) !== undefined;

async function end(...entries: JournalEntry[]) {
  const { log, lines } = recordingLog();
  await endLeftovers({ entries, clock: systemClock, log });
  return lines.map(({ message }) => message);
}

describe("A11: the ledger of processes", () => {
  test("names each process from its start to its end, for its owner alone", async () => {
    const { log } = recordingLog();
    const spawn = new ProcessJournal(dir, log).tracking(RADAR, systemSpawn);
    const request = { command: ["sleep", "1000"], env: { PATH } };
    const [a, b] = [spawn(request), spawn(request)];
    begun.push(a, b);
    expect(readProcessJournal(dir, log)).toEqual([
      { sensor: RADAR, ...processIdentity(a.pid)! },
      { sensor: RADAR, ...processIdentity(b.pid)! },
    ]);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    a.signalGroup("SIGKILL");
    await a.exited;
    await eventually(() => (stored() as unknown[]).length === 1);
    expect(stored()).toMatchObject([{ sensor: "radar", pid: b.pid }]);
  });

  test("that can't be written is logged once and prevents no sensor from running", () => {
    const { log, lines } = recordingLog();
    const spawn = new ProcessJournal(join(dir, "gone"), log).tracking(RADAR, systemSpawn);
    const request = { command: ["sleep", "1000"], env: { PATH } };
    begun.push(spawn(request), spawn(request));
    expect(lines.map(({ message }) => message)).toEqual([
      "could not record the sensors' processes; a killed agent may leave them running",
    ]);
  });

  test("is kept nowhere without a state directory", () => {
    const spawn = new ProcessJournal(undefined, recordingLog().log).tracking(RADAR, systemSpawn);
    expect(spawn).toBe(systemSpawn);
  });

  test("that is not there is empty", () => {
    const { log, lines } = recordingLog();
    expect(readProcessJournal(dir, log)).toEqual([]);
    expect(lines).toEqual([]);
  });

  test.each([
    ["nothing", ""],
    ["no JSON", "[{"],
    ["another form", '{"pid":5}'],
    ["a process that can't be", '[{"sensor":"radar","pid":1,"start_ticks":1,"boot_id":"x"}]'],
    ["a group of ours", '[{"sensor":"radar","pid":-5,"start_ticks":1,"boot_id":"x"}]'],
    ["too much", `[${" ".repeat(300_000)}]`],
  ])("that holds %s is told of and counts as empty", (_, text) => {
    const { log, lines } = recordingLog();
    writeFileSync(path, text);
    expect(readProcessJournal(dir, log)).toEqual([]);
    expect(lines.map(({ level }) => level)).toEqual(["warn"]);
  });

  test.each([
    ["a link", () => symlinkSync("/etc/passwd", path)],
    ["a directory", () => mkdirSync(path)],
    ["a pipe", () => Bun.spawnSync(["mkfifo", path])],
  ])("that is %s is not read", (_, plant) => {
    const { log, lines } = recordingLog();
    plant();
    expect(readProcessJournal(dir, log)).toEqual([]);
    expect(lines.map(({ level }) => level)).toEqual(["warn"]);
  });
});

describe("A11: processes that a killed agent left running", () => {
  test("is ended with its whole group, TERM or no", async () => {
    const stubborn =
      'trap "" TERM; (trap "" TERM; exec sleep 1000) & echo $!; while :; do sleep 1; done';
    const all = await Promise.all([begin(stubborn), begin(stubborn), begin(stubborn)]);
    const said = await end(...all.map(({ entry }) => entry));
    for (const { child, said: grandchild } of all) {
      expect([isAlive(child.pid), isAlive(grandchild)]).toEqual([false, false]);
    }
    expect(said).toEqual(
      Array<string>(3).fill("ended the processes an earlier agent left running"),
    );
  });

  test("is ended too where only its grandchildren are left", async () => {
    const { child, entry, said } = await begin("sleep 1000 & echo $!; exec sleep 1000");
    process.kill(child.pid, "SIGKILL");
    await child.exited;
    expect(isAlive(said)).toBe(true);
    await end(entry);
    expect(isAlive(said)).toBe(false);
  });

  test("is nothing, when it has ended by itself", async () => {
    const { child, entry } = await begin("echo 1; exec sleep 1000");
    child.signalGroup("SIGKILL");
    await child.exited;
    expect(await end(entry)).toEqual([]);
  });

  test("is never a stranger that has its pid now, nor a stranger's group", async () => {
    const { child, entry } = await begin("echo 1; exec sleep 1000");
    const earlier = { ...entry, startTicks: entry.startTicks - 1 };
    expect(await end(earlier, { ...entry, bootId: "another" })).toEqual([]);
    expect(isAlive(child.pid)).toBe(true);
    const other = await begin("sleep 1000 & echo $!; exec sleep 1000", "another-sensor");
    process.kill(other.child.pid, "SIGKILL");
    await other.child.exited;
    expect(await end({ ...other.entry, startTicks: other.entry.startTicks - 1 })).toEqual([]);
    expect(isAlive(other.said)).toBe(true);
  });

  test.skipIf(process.getuid?.() !== 0)("of another user's making is not believed", () => {
    const { log, lines } = recordingLog();
    writeFileSync(path, "[]");
    chmodSync(path, 0o666);
    Bun.spawnSync(["chown", "65534", path]);
    expect(readProcessJournal(dir, log)).toEqual([]);
    expect(lines.length).toBe(1);
    expect(existsSync(path)).toBe(true);
  });
});
