import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { systemClock } from "@fleet/daemon";
import { FakeClock, settle } from "@fleet/daemon/testing";

import { FakeSpawn } from "./fake-spawn.ts";
import { processIdentity } from "./orphans.ts";
import { runOnce, type RunOnceOptions, type RunOnceResult } from "./run-once.ts";

const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/** Waits until a killed process has exited, which takes the kernel a moment. */
async function untilGone(pid: number): Promise<void> {
  while (processIdentity(pid) !== undefined) await settle();
}

const BOUNDS = { timeoutMs: 60_000, stdoutBytesMax: 1000, stderrBytesMax: 100 };

function run(script: string, options: Partial<RunOnceOptions> = {}): Promise<RunOnceResult> {
  return runOnce({
    clock: systemClock,
    command: ["sh", "-c", script],
    env: { PATH: process.env["PATH"] ?? "/usr/bin:/bin" },
    ...BOUNDS,
    ...options,
  });
}

describe("a real process run once", () => {
  test("returns its output and exit status", async () => {
    const result = await run("echo out; echo err >&2; exit 4");
    if (result.ended !== "exit") throw new Error(result.ended);
    expect([result.code, result.signal]).toEqual([4, undefined]);
    expect([textOf(result.stdout), textOf(result.stderr)]).toEqual(["out\n", "err\n"]);
  });

  test("sees exactly the environment and directory passed to it", async () => {
    const result = await run("env | grep -v -e ^PWD= -e ^_= -e ^SHLVL=; pwd", {
      env: { PATH: "/usr/bin:/bin", A: "1" },
      cwd: "/",
    });
    if (result.ended !== "exit") throw new Error(result.ended);
    expect(textOf(result.stdout).trim().split("\n").toSorted()).toEqual([
      "/",
      "A=1",
      "PATH=/usr/bin:/bin",
    ]);
  });

  test("is reported with the signal that killed it", async () => {
    expect(await run("kill -SEGV $$")).toMatchObject({
      ended: "exit",
      code: undefined,
      signal: "SIGSEGV",
    });
  });

  test("is killed with its whole group at the timeout, even if it ignores TERM, and its output is returned", async () => {
    const result = await run('trap "" TERM; sleep 1000 & echo $!; wait', { timeoutMs: 100 });
    if (result.ended !== "timeout") throw new Error(result.ended);
    const grandchild = Number(textOf(result.stdout));
    expect(grandchild).toBeGreaterThan(1);
    await untilGone(grandchild);
  });

  test("can end by itself within the grace, and is killed after it", async () => {
    const obeys = 'trap "echo bye; exit 0" TERM; while :; do sleep 0.01; done';
    const polite = await run(obeys, { timeoutMs: 100, graceMs: 60_000 });
    expect(polite).toMatchObject({ ended: "timeout" });
    expect("stdout" in polite && textOf(polite.stdout)).toBe("bye\n");
    const stubborn = 'trap "" TERM; sleep 1000 & echo $!; while :; do sleep 1; done';
    const killed = await run(stubborn, { timeoutMs: 100, graceMs: 20 });
    await untilGone(Number("stdout" in killed && textOf(killed.stdout)));
  });

  test("has its stderr delivered as it is written", async () => {
    const abort = new AbortController();
    let stderr = "";
    const result = await run("echo up >&2; exec sleep 1000", {
      signal: abort.signal,
      onStderr: (chunk) => {
        stderr += textOf(chunk);
        abort.abort();
      },
    });
    expect([result.ended, stderr]).toEqual(["aborted", "up\n"]);
  });

  test("leaves nothing of its group behind when it exits by itself", async () => {
    const result = await run("sleep 1000 & echo $!");
    if (result.ended !== "exit") throw new Error(result.ended);
    await untilGone(Number(textOf(result.stdout)));
  });

  test("is killed when it floods", async () => {
    const result = await run("exec yes");
    if (result.ended !== "flood") throw new Error(result.ended);
    expect(textOf(result.stdout)).toBe("y\n".repeat(500));
  });

  test("can print exactly as much as the limit, and not one byte more", async () => {
    expect(await run("printf %01000d 0")).toMatchObject({ ended: "exit", code: 0 });
    expect(await run("printf %01001d 0")).toMatchObject({ ended: "flood" });
  });

  test("returns only the last bytes of its stderr", async () => {
    const result = await run("seq 1 100000 >&2");
    if (result.ended !== "exit") throw new Error(result.ended);
    expect(result.stderr.byteLength).toBe(100);
    expect(textOf(result.stderr)).toEndWith("\n99999\n100000\n");
  });
});

describe("a process that cannot be spawned", () => {
  const dir = mkdtempSync(join(tmpdir(), "fleet-"));
  const file = (name: string, text: string, mode: number): string => {
    const path = join(dir, name);
    writeFileSync(path, text, { mode });
    return path;
  };
  const cases = [
    ["no-such-program", "ENOENT", '"no-such-program" was not found in PATH'],
    ["/no/such/program", "ENOENT", '"/no/such/program" was not found'],
    ["", "ENOENT", '"" was not found in PATH'],
    [file("plain", "#!/bin/sh\n", 0o644), "EACCES", "is not executable"],
    [dir, "EACCES", "is not executable"],
    [file("text", "hello\n", 0o755), "ENOEXEC", "is not a program for this machine"],
    [file("lost", "#!/no/such/sh\n", 0o755), "ENOENT", "the interpreter or loader it names"],
  ] as const;

  test("is reported with the reason", async () => {
    for (const [command, errno, message] of cases) {
      const result = await run("", { command: [command] });
      expect(result).toMatchObject({ ended: "spawn_failed", errno });
      expect(result).toHaveProperty("message", expect.stringContaining(message));
    }
    rmSync(dir, { recursive: true });
  });

  test("because its working directory is missing, is reported so", async () => {
    expect(await run("true", { cwd: "/no/such/dir" })).toMatchObject({
      ended: "spawn_failed",
      message: 'the working directory "/no/such/dir" does not exist',
    });
  });

  test("because of its arguments, is reported so", async () => {
    expect(
      await run("true", { command: ["sh", "-c", "true", "x".repeat(3_000_000)] }),
    ).toMatchObject({ ended: "spawn_failed", errno: "E2BIG" });
    expect(await run("echo a\0b")).toMatchObject({ ended: "spawn_failed" });
    expect(await run("", { command: [] })).toMatchObject({ ended: "spawn_failed" });
  });
});

describe("within a timeout, a process", () => {
  function begin(options: Partial<RunOnceOptions> = {}): {
    clock: FakeClock;
    fake: FakeSpawn;
    result: Promise<RunOnceResult>;
  } {
    const clock = new FakeClock();
    const fake = new FakeSpawn();
    const result = run("", { clock, spawn: fake.spawn, timeoutMs: 2000, ...options });
    return { clock, fake, result };
  }

  test("that exits in time leaves no timer behind", async () => {
    const { clock, fake, result } = begin();
    clock.advance(1999);
    fake.last.stdout.write("frame\n");
    fake.last.exit(0);
    expect(await result).toMatchObject({ ended: "exit", code: 0, ranMs: 1999 });
    expect([fake.last.signals, clock.timers]).toEqual([["SIGKILL"], 0]);
  });

  test("that does not exit in time is killed", async () => {
    const { clock, fake, result } = begin();
    fake.last.onSignal = (signal, process) => process.exit(signal);
    clock.advance(1999);
    expect(fake.last.signals).toEqual([]);
    clock.advance(1);
    expect(await result).toMatchObject({ ended: "timeout", ranMs: 2000 });
    expect(clock.timers).toBe(0);
  });

  test("that cannot be killed does not block the result", async () => {
    const { clock, fake, result } = begin();
    clock.advance(2000);
    await settle();
    clock.advance(2000);
    expect(await result).toMatchObject({ ended: "timeout" });
    expect([fake.last.stdout.closed, fake.last.stderr.closed]).toEqual([true, true]);
  });

  test("is killed on abort, and not even spawned if aborted before", async () => {
    const abort = new AbortController();
    const { fake, result } = begin({ signal: abort.signal });
    fake.last.onSignal = (signal, process) => process.exit(signal);
    abort.abort();
    expect(await result).toMatchObject({ ended: "aborted" });
    const late = begin({ signal: abort.signal });
    expect(await late.result).toMatchObject({ ended: "aborted" });
    expect(late.fake.processes.length).toBe(0);
  });

  test("that left too much output in its pipe is a flood", async () => {
    const { fake, result } = begin({ stdoutBytesMax: 3 });
    fake.last.exit(0, { holdsOutputs: true });
    await settle();
    fake.last.stdout.write("four");
    fake.last.stdout.end();
    fake.last.stderr.end();
    const flood = await result;
    if (flood.ended !== "flood") throw new Error(flood.ended);
    expect(textOf(flood.stdout)).toBe("fou");
  });
});
