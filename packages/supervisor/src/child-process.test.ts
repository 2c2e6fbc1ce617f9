import { afterEach, describe, expect, test } from "bun:test";
import { dlopen, FFIType } from "bun:ffi";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

import { seededRandom, silentLog, systemClock } from "@fleet/daemon";

import { Child } from "./child.ts";
import type { ChildSpec, RunEnd } from "./child-spec.ts";
import type { ChildState } from "./child-state.ts";
import { parseStat, processIdentity } from "./orphans.ts";

const ENV = { PATH: process.env["PATH"] ?? "/usr/bin:/bin" };
const FAR_MS = 60_000;

/** A supervised child with its recorded events, and a way to wait for them. */
class Watched {
  readonly child: Child;
  readonly states: ChildState["at"][] = [];
  readonly ends: RunEnd[] = [];
  stdout = "";
  stderr = "";
  #changed = Promise.withResolvers<void>();

  constructor(script: string | readonly string[], spec: Partial<ChildSpec> = {}) {
    this.child = new Child({
      clock: systemClock,
      random: seededRandom(1),
      log: silentLog,
      spec: {
        command: typeof script === "string" ? ["sh", "-c", script] : script,
        env: ENV,
        restart: "never",
        backoff: { baseMs: 1, capMs: 2 },
        stableAfterMs: 10_000,
        stopGraceMs: 10_000,
        ready: "spawn",
        onStdout: (chunk) => {
          this.stdout += new TextDecoder().decode(chunk);
          this.#change();
        },
        onStderr: (chunk) => {
          this.stderr += new TextDecoder().decode(chunk);
          this.#change();
        },
        onState: (next) => {
          this.states.push(next.at);
          this.#change();
        },
        onExit: (end) => {
          this.ends.push(end);
          this.#change();
        },
        ...spec,
      },
    });
    watched.push(this);
  }

  async until(what: () => boolean): Promise<void> {
    while (!what()) await this.#changed.promise;
  }

  stop(): Promise<void> {
    return this.child.stop(systemClock.monotonicMs() + FAR_MS);
  }

  #change(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }
}

const watched: Watched[] = [];
afterEach(async () => {
  for (const one of watched.splice(0)) await one.child.stop(systemClock.monotonicMs() + 300);
});

const isAlive = (pid: number): boolean => processIdentity(pid) !== undefined;

describe("a real child", () => {
  test("has all its output delivered, then its exit code", async () => {
    const w = new Watched("printf out; printf err >&2; exit 3");
    w.child.start();
    await w.until(() => w.child.state.at === "stopped");
    expect([w.stdout, w.stderr]).toEqual(["out", "err"]);
    expect(w.ends).toMatchObject([{ run: 1, code: 3, signal: undefined }]);
  });

  test("leads its own session and group, reads /dev/null, and inherits no descriptor", async () => {
    // It prints `up` first, so that its loader has closed all libraries, and loops, so that the shell does not exec its last
    // command.
    const w = new Watched("echo up; while :; do sleep 1000; done");
    w.child.start();
    await w.until(() => w.stdout === "up\n");
    const proc = `/proc/${w.child.pid}`;
    // Fields: pid, name, state, parent, group, session. The name has no spaces here.
    const [pid, , , , group, session] = readFileSync(`${proc}/stat`, "utf8").split(" ");
    expect([pid, group, session]).toEqual(Array<string>(3).fill(String(w.child.pid)));
    expect(readlinkSync(`${proc}/fd/0`)).toBe("/dev/null");
    expect(readdirSync(`${proc}/fd`)).toEqual(["0", "1", "2"]);
  });

  test("can open /dev/stdout and /dev/stderr, as shell scripts do", async () => {
    const w = new Watched("echo a > /dev/stdout; echo b > /dev/stderr");
    w.child.start();
    await w.until(() => w.child.state.at === "stopped");
    expect([w.stdout, w.stderr]).toEqual(["a\n", "b\n"]);
  });

  test("starts with default signal handling and an empty mask", async () => {
    const w = new Watched(["cat", "/proc/self/status"]);
    w.child.start();
    await w.until(() => w.child.state.at === "stopped");
    expect(w.stdout).toMatch(/SigBlk:\s+0+\nSigIgn:\s+0+\n/);
  });

  test("that is killed with SIGKILL is restarted", async () => {
    const w = new Watched("echo up; exec sleep 1000", { restart: "on-failure" });
    w.child.start();
    await w.until(() => w.stdout === "up\n");
    process.kill(w.child.pid ?? 0, "SIGKILL");
    await w.until(() => w.stdout === "up\nup\n");
    expect(w.ends).toMatchObject([{ run: 1, code: undefined, signal: "SIGKILL" }]);
    expect([w.child.run, w.child.state.at]).toEqual([2, "running"]);
  });

  test("that ignores TERM is killed after the grace", async () => {
    const w = new Watched('trap "" TERM; echo up; while :; do sleep 1000; done', {
      stopGraceMs: 30,
    });
    w.child.start();
    await w.until(() => w.stdout === "up\n");
    await w.stop();
    expect(w.ends).toMatchObject([{ signal: "SIGKILL" }]);
  });

  test("receives TERM with its whole group, and can end by itself within the grace", async () => {
    const w = new Watched(
      'sleep 1000 & trap "wait; echo bye; exit 0" TERM; echo up; wait; while :; do wait; done',
    );
    w.child.start();
    await w.until(() => w.stdout === "up\n");
    await w.stop();
    expect(w.stdout).toBe("up\nbye\n");
    expect(w.ends).toMatchObject([{ code: 0 }]);
  });

  test("leaves no grandchild behind, even one that holds its stdout and ignores TERM", async () => {
    const w = new Watched('(trap "" TERM; echo $$; exec sleep 1000) & sleep 0; echo "pid $!"');
    w.child.start();
    await w.until(() => w.child.state.at === "stopped");
    const grandchild = Number(/pid (\d+)/.exec(w.stdout)?.[1]);
    expect(grandchild).toBeGreaterThan(1);
    // The kernel may take a moment to deliver SIGKILL.
    await until(() => !isAlive(grandchild));
  });

  test("is not kept waiting by a process that left its group and holds its stdout", async () => {
    const w = new Watched('setsid sleep 1000 & echo "pid $!"; sleep 0.1');
    w.child.start();
    await w.until(() => w.child.state.at === "stopped");
    const escaped = Number(/pid (\d+)/.exec(w.stdout)?.[1]);
    expect(isAlive(escaped)).toBe(true);
    process.kill(escaped, "SIGKILL");
  });

  test("that cannot be spawned is logged with a reason and retried", async () => {
    const warnings: string[] = [];
    const log = { ...silentLog, warn: (_: object, text: string) => void warnings.push(text) };
    const child = new Child({
      clock: systemClock,
      random: seededRandom(1),
      log,
      spec: {
        command: ["no-such-program"],
        env: ENV,
        restart: "on-failure",
        backoff: { baseMs: 60_000, capMs: 60_000 },
        stableAfterMs: 1,
        stopGraceMs: 1,
        ready: "spawn",
      },
    });
    child.start();
    expect(child.state).toMatchObject({ at: "backoff", failures: 1 });
    expect(warnings).toEqual(['"no-such-program" was not found in PATH']);
    await child.stop(systemClock.monotonicMs() + FAR_MS);
    expect(child.state.at).toBe("stopped");
  });

  test("is slowed down by a slow reader, and loses nothing", async () => {
    const total = 2_000_000;
    const held = Promise.withResolvers<void>();
    let received = 0;
    const w = new Watched(["head", "-c", String(total), "/dev/zero"], {
      onStdout: (chunk) => {
        received += chunk.byteLength;
        return held.promise;
      },
    });
    w.child.start();
    // The only thing it sleeps in is a write to a full pipe.
    await until(() => received > 0 && stateOf(w.child.pid ?? 0) === "S");
    expect(w.ends).toEqual([]);
    expect(received).toBeLessThan(600_000);
    held.resolve();
    await w.until(() => w.child.state.at === "stopped");
    expect(received).toBe(total);
  });

  test("delivers chunks that are never overwritten", async () => {
    const chunks: Uint8Array[] = [];
    const w = new Watched(["seq", "1", "200000"], {
      onStdout: (chunk) => void chunks.push(chunk),
    });
    w.child.start();
    await w.until(() => w.child.state.at === "stopped");
    const expected = Array.from({ length: 200_000 }, (_, i) => `${i + 1}\n`).join("");
    expect(Buffer.concat(chunks).toString() === expected).toBe(true);
  });

  test("that other code reaped has exited with an unknown status", async () => {
    const libc = dlopen("libc.so.6", {
      waitpid: { args: [FFIType.i32, FFIType.ptr, FFIType.i32], returns: FFIType.i32 },
    });
    const w = new Watched("exit 0", { restart: "on-failure" });
    w.child.start();
    const pid = w.child.pid ?? 0;
    expect(libc.symbols.waitpid(pid, null, 0)).toBe(pid);
    await w.until(() => w.ends.length > 0);
    expect(w.ends).toMatchObject([{ code: undefined, signal: undefined }]);
    await w.stop();
    libc.close();
  });

  test("can be spawned and ended hundreds of times without leaking a descriptor", async () => {
    const w = new Watched(["true"], { restart: "always", backoff: { baseMs: 0, capMs: 0 } });
    w.child.start();
    await w.until(() => w.ends.length >= 20);
    const before = readdirSync("/proc/self/fd").length;
    await w.until(() => w.ends.length >= 400);
    await w.stop();
    // Bun closes its descriptors a moment later.
    await until(() => readdirSync("/proc/self/fd").length <= before);
    expect(w.ends.map((end) => end.run)).toEqual(w.ends.map((_, i) => i + 1));
  });
});

test("an expendable child is the first to be killed when memory runs out (A10)", async () => {
  const score = "until grep -x 1000 /proc/self/oom_score_adj; do :; done";
  const w = new Watched(score, { isExpendable: true });
  w.child.start();
  await w.until(() => w.ends.length > 0);
  expect(w.stdout).toBe("1000\n");
  await w.stop();
});

async function until(what: () => boolean): Promise<void> {
  while (!what()) await new Promise((resolve) => setImmediate(resolve));
}

const stateOf = (pid: number): string | undefined =>
  parseStat(readFileSync(`/proc/${pid}/stat`, "utf8"))?.state;
