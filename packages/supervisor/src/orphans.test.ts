import { describe, expect, test } from "bun:test";

import { systemClock } from "@fleet/daemon";

import {
  endOrphan,
  findOrphans,
  groupMembers,
  parseStat,
  processIdentity,
  type ProcessIdentity,
} from "./orphans.ts";
import { signalGroup, type SpawnedProcess, systemSpawn } from "./spawn.ts";

const ENV = { PATH: process.env["PATH"] ?? "/usr/bin:/bin" };
const LONG = { clock: systemClock, graceMs: 60_000 };

/** Spawns a process and waits for its first output. */
async function begin(script: string): Promise<{ process: SpawnedProcess; id: ProcessIdentity }> {
  const process = systemSpawn({ command: ["sh", "-c", script], env: ENV });
  await process.stdout.read();
  const id = processIdentity(process.pid);
  if (id === undefined) throw new Error("it is gone");
  return { process, id };
}

async function end(process: SpawnedProcess): Promise<void> {
  process.signalGroup("SIGKILL");
  await process.exited;
  process.stdout.close();
  process.stderr.close();
}

describe("the identity of a process", () => {
  test("stays the same while it runs, and differs from that of another", async () => {
    const a = await begin("echo up; exec sleep 1000");
    expect(processIdentity(a.process.pid)).toEqual(a.id);
    expect(a.id.bootId).toMatch(/^[0-9a-f-]{36}$/);
    expect(processIdentity(process.pid)?.startTicks).toBeLessThan(a.id.startTicks);
    await end(a.process);
    expect(processIdentity(a.process.pid)).toBeUndefined();
  });

  test("is parsed correctly for any process name", () => {
    for (const name of ["sh", "a b", "a) R 1 (b", ")", "("])
      expect(parseStat(`42 (${name}) S 1 41 40 0 -1 1 2 3 4 5 6 7 8 9 20 0 1 0 777 0`)).toEqual({
        state: "S",
        parent: 1,
        group: 41,
        session: 40,
        startTicks: 777,
      });
    expect(parseStat("42 (x) Z 1 40 40 0 -1 1 2 3 4 5 6 7 8 9 20 0 1 0 123456 0 0")).toEqual({
      state: "Z",
      parent: 1,
      group: 40,
      session: 40,
      startTicks: 123_456,
    });
    for (const bad of ["", "42", "42 (x)", "42 (x) S 1 2"]) expect(parseStat(bad)).toBeUndefined();
  });
});

describe("an orphan", () => {
  test("is ended by TERM, together with the rest of its group", async () => {
    const { process, id } = await begin('(trap "" TERM; exec sleep 1000) & echo $!; wait');
    expect(await endOrphan(id, LONG)).toBe("ended");
    expect(await process.exited).toEqual({ code: undefined, signal: "SIGTERM" });
    // The process that ignored TERM held the pipe.
    while ((await process.stdout.read()) !== undefined);
    await end(process);
  });

  test("that ignores TERM is killed after the grace", async () => {
    const { process, id } = await begin('trap "" TERM; echo up; while :; do sleep 1000; done');
    expect(await endOrphan(id, { clock: systemClock, graceMs: 40 })).toBe("ended");
    expect(await process.exited).toEqual({ code: undefined, signal: "SIGKILL" });
    await end(process);
  });

  test("that has exited is reported as gone", async () => {
    const { process, id } = await begin("echo up; exec sleep 1000");
    await end(process);
    expect(await endOrphan(id, LONG)).toBe("gone");
  });

  test("is not confused with another process of the same pid, from another time or boot", async () => {
    const { process, id } = await begin("echo up; exec sleep 1000");
    expect(await endOrphan({ ...id, startTicks: id.startTicks - 1 }, LONG)).toBe("not_ours");
    expect(await endOrphan({ ...id, bootId: "another" }, LONG)).toBe("not_ours");
    expect(processIdentity(process.pid)).toEqual(id);
    await end(process);
  });

  test("that has exited leaves the members of its group to be found", async () => {
    const { process, id } = await begin("sleep 1000 & echo $!; exec sleep 1000");
    const [member] = groupMembers(id);
    expect(parseStat(await Bun.file(`/proc/${member}/stat`).text())?.group).toBe(id.pid);
    globalThis.process.kill(id.pid, "SIGKILL");
    await process.exited;
    expect(groupMembers(id)).toEqual([member!]);
    expect(groupMembers({ ...id, startTicks: id.startTicks + 1_000_000 })).toEqual([]);
    await end(process);
  });

  test("is never this process", async () => {
    const self = processIdentity(process.pid);
    if (self === undefined) throw new Error("no /proc");
    expect(await endOrphan(self, LONG)).toBe("not_ours");
  });

  test("that does not lead its group is ended alone", async () => {
    const { process: leader, id } = await begin("sleep 1000 & echo $!; exec sleep 1000");
    leader.stdout.close();
    const member = await memberOf(id);
    expect(await endOrphan(member, LONG)).toBe("ended");
    expect(processIdentity(leader.pid)).toEqual(id);
    await end(leader);
  });
});

describe("unrecorded orphans", () => {
  const SCRIPT = "echo up; while :; do sleep 1000; done";

  /** Starts a session leader with `mark` as its last argument; its parent exits immediately or stays. */
  async function left(mark: string, parent: "exits" | "stays"): Promise<number> {
    const script = `setsid sh -c '${SCRIPT}' "$1" & echo $!; ${parent === "exits" ? "" : "wait"}`;
    const { stdout } = systemSpawn({ command: ["sh", "-c", script, "sh", mark], env: ENV });
    let printed = "";
    while (!printed.includes("up")) printed += new TextDecoder().decode(await stdout.read());
    stdout.close();
    return Number.parseInt(printed.replace("up", ""), 10);
  }

  test("are recognised by their arguments, their session and their missing parent; other processes are not", async () => {
    const mark = `mark-${process.pid}-${crypto.randomUUID()}`;
    const [orphan, supervised] = [await left(mark, "exits"), await left(mark, "stays")];
    const other = await left(`other-${mark}`, "exits");
    const found = findOrphans((argv) => argv.at(-1) === mark);
    expect(found).toEqual([processIdentity(orphan)!]);
    expect(findOrphans(() => false)).toEqual([]);
    expect(await endOrphan(found[0]!, LONG)).toBe("ended");
    for (const pid of [supervised, other]) {
      expect(processIdentity(pid)).toBeDefined();
      signalGroup(pid, "SIGKILL");
    }
  });
});

/** The first child of a process. */
async function memberOf(leader: ProcessIdentity): Promise<ProcessIdentity> {
  for (const name of new Bun.Glob("[0-9]*").scanSync({ cwd: "/proc", onlyFiles: false })) {
    const text = await Bun.file(`/proc/${name}/stat`)
      .text()
      .catch(() => "");
    const found = parseStat(text)?.group === leader.pid ? processIdentity(Number(name)) : undefined;
    if (found !== undefined && found.pid !== leader.pid) return found;
  }
  throw new Error("no member");
}
