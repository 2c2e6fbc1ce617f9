import { describe, expect, test } from "bun:test";

import { DeadlineError, silentLog } from "@fleet/daemon";
import { FakeClock, settle } from "@fleet/daemon/testing";

import { Child, KILL_MARGIN_MS } from "./child.ts";
import type { ChildSpec, RunEnd } from "./child-spec.ts";
import type { ChildState } from "./child-state.ts";
import { type FakeProcess, FakeSpawn } from "./fake-spawn.ts";
import { DRAIN_BYTES_MAX, DRAIN_SILENT_MS } from "./outputs.ts";

const FAR_MS = 1_000_000;

interface Rig {
  readonly clock: FakeClock;
  readonly fake: FakeSpawn;
  readonly child: Child;
  /** States, chunks of output and exits, in the order of the callbacks. */
  readonly heard: string[];
  readonly ends: RunEnd[];
}

function rig(spec: Partial<ChildSpec> = {}): Rig {
  const clock = new FakeClock();
  const fake = new FakeSpawn();
  const heard: string[] = [];
  const ends: RunEnd[] = [];
  const text = (chunk: Uint8Array): string => new TextDecoder().decode(chunk);
  const child = new Child({
    clock,
    // The middle of the jitter: three quarters of the full delay.
    random: { next: () => 0.5 },
    log: silentLog,
    spawn: fake.spawn,
    spec: {
      command: ["sensor"],
      env: {},
      restart: "always",
      backoff: { baseMs: 1000, capMs: 8000 },
      stableAfterMs: 10_000,
      stopGraceMs: 5000,
      ready: "spawn",
      onStdout: (chunk, run) => void heard.push(`out${run}:${text(chunk)}`),
      onStderr: (chunk, run) => void heard.push(`err${run}:${text(chunk)}`),
      onState: (next) => heard.push(next.at),
      onExit: (end) => {
        heard.push(`exit${end.run}`);
        ends.push(end);
      },
      ...spec,
    },
  });
  return { clock, fake, child, heard, ends };
}

const obey = (process: FakeProcess): void => {
  process.onSignal = (signal) => process.exit(signal);
};

describe("starting", () => {
  test("spawns once, even if called twice", () => {
    const { fake, child } = rig();
    child.start();
    child.start();
    expect(fake.processes.length).toBe(1);
    expect([child.run, child.pid]).toEqual([1, fake.last.pid]);
  });

  test("continues the run numbers of earlier supervisors", () => {
    const { child } = rig({ runsBefore: 41 });
    child.start();
    expect(child.run).toBe(42);
  });

  test("with manual readiness waits for markReady before the state is running", () => {
    const { child, clock } = rig({ ready: "manual", startTimeoutMs: 3000 });
    child.start();
    expect(child.state.at).toBe("starting");
    clock.advance(2999);
    child.markReady();
    expect(child.state).toMatchObject({ at: "running", sinceMs: 2999 });
    clock.advance(10_000);
    expect(child.state.at).toBe("running");
    expect(clock.timers).toBe(0);
  });

  test("that takes too long is stopped and counts as a failure", async () => {
    const { child, clock, fake, ends } = rig({ ready: "manual", startTimeoutMs: 3000 });
    child.start();
    fake.last.onSignal = (signal) => signal === "SIGTERM" && fake.last.exit(0);
    clock.advance(3000);
    expect(child.state.at).toBe("stopping");
    await settle();
    expect(ends).toMatchObject([{ code: 0, ranMs: 3000 }]);
    expect(child.state).toEqual({ at: "backoff", failures: 1, retryAtMs: 3000 + 750 });
  });
});

describe("after an unexpected exit a child", () => {
  test("is spawned again after a delay that doubles up to the cap, until a run is stable", async () => {
    const { child, clock, fake } = rig();
    child.start();
    const delays: number[] = [];
    for (let i = 0; i < 6; i++) {
      fake.last.exit(1);
      await settle();
      if (child.state.at !== "backoff") throw new Error(child.state.at);
      delays.push(child.state.retryAtMs - clock.monotonicMs());
      clock.advance(child.state.retryAtMs - clock.monotonicMs() - 1);
      expect(fake.processes.length).toBe(i + 1);
      clock.advance(1);
      expect(fake.processes.length).toBe(i + 2);
    }
    expect(delays).toEqual([750, 1500, 3000, 6000, 6000, 6000]);
    clock.advance(10_000);
    fake.last.exit(1);
    await settle();
    expect(child.state).toMatchObject({ at: "backoff", failures: 1 });
  });

  test("has the rest of its group killed, once", async () => {
    const { child, fake } = rig();
    child.start();
    const { last } = fake;
    last.exit(0);
    await settle();
    await child.stop(FAR_MS);
    expect(last.signals).toEqual(["SIGKILL"]);
  });

  test("delivers all its output, then the exit, then the next state", async () => {
    const { child, fake, heard } = rig({ restart: "never" });
    child.start();
    fake.last.stdout.write("a");
    fake.last.stdout.write("b");
    fake.last.stderr.write("x");
    fake.last.exit(0);
    await settle();
    expect(heard.filter((h) => !h.startsWith("err"))).toEqual([
      "running",
      "out1:a",
      "out1:b",
      "exit1",
      "stopped",
    ]);
    expect(heard.indexOf("err1:x")).toBeLessThan(heard.indexOf("exit1"));
  });

  test("waits for output no longer than DRAIN_SILENT_MS when another process holds the pipe", async () => {
    const { child, clock, fake, heard } = rig({ restart: "never" });
    child.start();
    const { last } = fake;
    last.exit(0, { holdsOutputs: true });
    await settle();
    last.stdout.write("late");
    await settle();
    clock.advance(DRAIN_SILENT_MS - 1);
    await settle();
    expect(child.state.at).toBe("running");
    clock.advance(1);
    await settle();
    expect(child.state.at).toBe("stopped");
    last.stdout.write("too late");
    await settle();
    expect(heard).toEqual(["running", "out1:late", "exit1", "stopped"]);
    expect([last.stdout.closed, last.stderr.closed, clock.timers]).toEqual([true, true, 0]);
  });

  test("is not kept alive by another process that keeps writing to its pipe", async () => {
    const { child, fake } = rig({ restart: "never", onStdout: () => {} });
    child.start();
    const { last } = fake;
    last.stderr.end();
    last.exit(0, { holdsOutputs: true });
    const chunk = new Uint8Array(64 * 1024);
    for (let sent = 0; sent < DRAIN_BYTES_MAX; sent += chunk.byteLength) {
      expect(child.state.at).toBe("running");
      last.stdout.write(chunk);
      await settle();
    }
    expect(child.state.at).toBe("stopped");
  });

  test("is not spawned again before a slow reader is done, so that runs never mix", async () => {
    const held = Promise.withResolvers<void>();
    const taken: string[] = [];
    const { child, clock, fake, ends } = rig({
      onStdout: (chunk, run) => {
        taken.push(`${run}:${new TextDecoder().decode(chunk)}`);
        return held.promise;
      },
    });
    child.start();
    fake.last.stdout.write("a");
    fake.last.stdout.write("b");
    fake.last.exit(1);
    await settle();
    clock.advance(60_000);
    await settle();
    expect([taken, ends.length, fake.processes.length]).toEqual([["1:a"], 0, 1]);
    held.resolve();
    await settle();
    expect(taken).toEqual(["1:a", "1:b"]);
    expect(ends).toMatchObject([{ code: 1, ranMs: 0 }]);
  });
});

describe("output", () => {
  test("is not read while the owner's promise is unsettled, but stderr is", async () => {
    const held = Promise.withResolvers<void>();
    const { child, fake, heard } = rig({ onStdout: () => held.promise });
    child.start();
    for (const chunk of ["1", "2", "3"]) fake.last.stdout.write(chunk);
    fake.last.stderr.write("still read");
    await settle();
    expect(fake.last.stdout.unread).toBe(2);
    expect(heard).toContain("err1:still read");
    held.resolve();
    await settle();
    expect(fake.last.stdout.unread).toBe(0);
  });

  test("continues when a callback throws or rejects", async () => {
    let chunks = 0;
    const { child, fake } = rig({
      onStdout: () => {
        chunks++;
        if (chunks === 1) throw new Error("thrown");
        return Promise.reject(new Error("rejected"));
      },
    });
    child.start();
    for (const chunk of ["1", "2", "3"]) fake.last.stdout.write(chunk);
    await settle();
    expect(chunks).toBe(3);
  });
});

describe("a spawn that fails", () => {
  test("is retried with backoff and takes a run number", () => {
    const { child, clock, fake } = rig();
    fake.fail(2);
    child.start();
    expect(child.state).toEqual({ at: "backoff", failures: 1, retryAtMs: 750 });
    clock.advance(750);
    expect(child.state).toEqual({ at: "backoff", failures: 2, retryAtMs: 750 + 1500 });
    clock.advance(1500);
    expect([child.state.at, child.run]).toEqual(["running", 3]);
  });

  test("stops a child that is never restarted", async () => {
    const failures: string[] = [];
    const { child, fake, heard } = rig({
      restart: "never",
      onSpawnFailed: (error, run) => void failures.push(`${run}:${error.errno}`),
    });
    fake.fail();
    child.start();
    expect(child.state.at).toBe("stopped");
    expect([heard, failures]).toEqual([["stopped"], ["1:ENOENT"]]);
    await child.stop(FAR_MS);
  });
});

describe("stopping", () => {
  test("sends TERM, then KILL after the grace, and returns the same promise each time", async () => {
    const { child, clock, fake } = rig();
    child.start();
    const { last } = fake;
    const stopped = child.stop(FAR_MS);
    expect(child.stop(FAR_MS)).toBe(stopped);
    clock.advance(4999);
    expect(last.signals).toEqual(["SIGTERM"]);
    obey(last);
    clock.advance(1);
    await stopped;
    expect(last.signals.slice(0, 2)).toEqual(["SIGTERM", "SIGKILL"]);
    expect([child.state, child.pid, clock.timers]).toEqual([{ at: "stopped" }, undefined, 0]);
    expect(child.stop(FAR_MS)).toBe(stopped);
  });

  test("kills before the deadline when that precedes the end of the grace, and a later call can bring it forward", () => {
    const { child, clock, fake } = rig();
    child.start();
    void child.stop(4000);
    void child.stop(2000);
    void child.stop(3000);
    clock.advance(2000 - KILL_MARGIN_MS - 1);
    expect(fake.last.signals).toEqual(["SIGTERM"]);
    clock.advance(1);
    expect(fake.last.signals).toEqual(["SIGTERM", "SIGKILL"]);
  });

  test("kills immediately when the deadline has passed", () => {
    const { child, clock, fake } = rig();
    child.start();
    clock.advance(5000);
    void child.stop(1000);
    clock.advance(0);
    expect(fake.last.signals).toEqual(["SIGTERM", "SIGKILL"]);
  });

  test("rejects at the deadline when the process still runs, and cannot be started again meanwhile", async () => {
    const { child, clock, fake } = rig();
    child.start();
    const stopped = child.stop(1000);
    clock.advance(1000);
    expect(await stopped.catch((error: unknown) => error)).toBeInstanceOf(DeadlineError);
    expect(child.state.at).toBe("stopping");
    expect(() => child.start()).toThrow();
    fake.last.exit("SIGKILL");
    await settle();
    expect(child.state.at).toBe("stopped");
  });

  test("discards the rest of the output at the deadline", async () => {
    const { child, clock, fake, ends } = rig({ onStdout: () => new Promise<void>(() => {}) });
    child.start();
    fake.last.stdout.write("a");
    fake.last.stdout.write("b");
    await settle();
    obey(fake.last);
    const stopped = child.stop(1000);
    await settle();
    expect(ends).toEqual([]);
    clock.advance(1000);
    await stopped;
    expect(ends).toMatchObject([{ signal: "SIGTERM" }]);
  });

  test("cancels a retry", async () => {
    const { child, clock, fake } = rig();
    fake.fail();
    child.start();
    await child.stop(FAR_MS);
    expect([child.state.at, clock.timers]).toEqual(["stopped", 0]);
    clock.advance(60_000);
    expect(fake.processes.length).toBe(0);
  });

  test("works before the start and after the exit", async () => {
    const { child, fake } = rig({ restart: "never" });
    await child.stop(FAR_MS);
    child.start();
    fake.last.exit(0);
    await settle();
    await child.stop(FAR_MS);
    expect(child.state.at).toBe("stopped");
  });

  test("does not signal a process that has already exited", async () => {
    const { child, fake } = rig();
    child.start();
    const { last } = fake;
    last.exit(0, { holdsOutputs: true });
    await settle();
    const stopped = child.stop(FAR_MS);
    last.stdout.end();
    last.stderr.end();
    await stopped;
    expect(last.signals).toEqual(["SIGKILL"]);
  });

  test("can be followed by another start, with the next run number", async () => {
    const { child, fake } = rig();
    child.start();
    obey(fake.last);
    const first = child.stop(FAR_MS);
    await first;
    child.start();
    expect([child.run, child.state.at]).toEqual([2, "running"]);
    obey(fake.last);
    const second = child.stop(FAR_MS);
    expect(second).not.toBe(first);
    await second;
  });
});

describe("a requested restart", () => {
  test("stops the run and spawns the next without delay", async () => {
    const { child, fake, heard } = rig();
    child.start();
    obey(fake.last);
    child.restart("config changed");
    await settle();
    expect(heard).toEqual(["running", "stopping", "exit1", "backoff", "running"]);
    expect(child.state).toMatchObject({ failures: 0 });
  });

  test("cuts a backoff short, and revives a finished child", async () => {
    const { child, fake } = rig({ restart: "on-failure" });
    fake.fail();
    child.start();
    child.restart("operator");
    expect(child.state.at).toBe("running");
    fake.last.exit(0);
    await settle();
    expect(child.state.at).toBe("stopped");
    child.restart("operator");
    expect(child.state.at).toBe("running");
  });

  test("kills a process that ignores TERM", () => {
    const { child, clock, fake } = rig();
    child.start();
    child.restart("operator");
    clock.advance(5000);
    expect(fake.last.signals).toEqual(["SIGTERM", "SIGKILL"]);
  });

  test("does nothing to a child that was not started, is stopping, or was stopped", async () => {
    const { child, fake } = rig();
    child.restart("too early");
    expect(fake.processes.length).toBe(0);
    child.start();
    const { last } = fake;
    const stopped = child.stop(FAR_MS);
    child.restart("too late");
    last.exit("SIGTERM");
    await stopped;
    child.restart("far too late");
    expect([child.state.at, fake.processes.length]).toEqual(["stopped", 1]);
  });
});

describe("an owner, in a callback,", () => {
  test("can stop the child as soon as it runs", async () => {
    const states: ChildState["at"][] = [];
    const { child, fake } = rig({
      onState: (next) => {
        states.push(next.at);
        if (next.at === "running") void child.stop(FAR_MS);
      },
    });
    fake.onSpawn = obey;
    child.start();
    await child.stop(FAR_MS);
    expect(states).toEqual(["running", "stopping", "stopped"]);
  });

  test("can stop or restart it on its exit", async () => {
    for (const act of ["stop", "restart"] as const) {
      const { child, fake } = rig({
        onExit: () => void (act === "stop" ? child.stop(FAR_MS) : child.restart("again")),
      });
      child.start();
      const first = fake.last;
      first.exit(1);
      await settle();
      expect(child.state.at).toBe(act === "stop" ? "stopped" : "running");
      expect(first.signals).toEqual(["SIGKILL"]);
    }
  });

  test("can cut a backoff short as it begins", async () => {
    const { child, clock, fake } = rig({
      onState: (next) => {
        if (next.at === "backoff" && next.failures > 0) child.restart("at once");
      },
    });
    child.start();
    fake.last.exit(1);
    await settle();
    expect([child.state.at, child.run, clock.timers]).toEqual(["running", 2, 0]);
  });
});
