import { describe, expect, test } from "bun:test";
import fc from "fast-check";

import { type ChildEvent, type ChildPolicy, type ChildState, nextState } from "./child-state.ts";

const POLICY: ChildPolicy = {
  restart: "always",
  backoff: { baseMs: 1000, capMs: 8000 },
  stableAfterMs: 10_000,
  ready: "manual",
};
const STOPPED: ChildState = { at: "stopped" };
const RUNNING: ChildState = { at: "running", pid: 7, sinceMs: 100, failures: 3 };
const STARTING: ChildState = { at: "starting", pid: 7, sinceMs: 100, failures: 3 };
const exited = (atMs: number, clean = false): ChildEvent => ({
  type: "exited",
  atMs,
  clean,
  chance: 0,
});

describe("a child's next state", () => {
  test("is starting after a spawn until it is ready, or running immediately", () => {
    const spawned: ChildEvent = { type: "spawned", pid: 7, atMs: 5 };
    const starting = nextState(STOPPED, spawned, POLICY);
    expect(starting).toEqual({ at: "starting", pid: 7, sinceMs: 5, failures: 0 });
    expect(nextState(starting, { type: "ready", atMs: 9 }, POLICY)).toEqual({
      at: "running",
      pid: 7,
      sinceMs: 9,
      failures: 0,
    });
    expect(nextState(STOPPED, spawned, { ...POLICY, ready: "spawn" }).at).toBe("running");
  });

  test("is a longer backoff after each run that was not stable", () => {
    expect(nextState(RUNNING, exited(100 + 9_999), POLICY)).toEqual({
      at: "backoff",
      failures: 4,
      retryAtMs: 10_099 + 4000,
    });
  });

  test("is the first backoff again after a run that was stable, whatever its exit code", () => {
    for (const clean of [true, false])
      expect(nextState(RUNNING, exited(100 + 10_000, clean), POLICY)).toEqual({
        at: "backoff",
        failures: 1,
        retryAtMs: 10_100 + 500,
      });
  });

  test("is a failure when it exits before it was ready, even late and with code 0", () => {
    const policy: ChildPolicy = { ...POLICY, restart: "on-failure" };
    expect(nextState(STARTING, exited(99_999, true), policy)).toMatchObject({
      at: "backoff",
      failures: 4,
    });
  });

  test("is stopped after a clean exit with on-failure, and after any exit with never", () => {
    expect(nextState(RUNNING, exited(200, true), { ...POLICY, restart: "on-failure" })).toEqual(
      STOPPED,
    );
    expect(nextState(RUNNING, exited(200), { ...POLICY, restart: "on-failure" }).at).toBe(
      "backoff",
    );
    expect(nextState(RUNNING, exited(200), { ...POLICY, restart: "never" })).toEqual(STOPPED);
    expect(
      nextState(
        STOPPED,
        { type: "spawn_failed", atMs: 0, chance: 0 },
        { ...POLICY, restart: "never" },
      ),
    ).toEqual(STOPPED);
  });

  test("counts a failed run once the process has exited", () => {
    const failed: ChildEvent = { type: "failed", atMs: 300, killAtMs: 500 };
    const stopping = nextState(STARTING, failed, POLICY);
    expect(stopping).toEqual({
      at: "stopping",
      pid: 7,
      killAtMs: 500,
      failures: 3,
      then: "failure",
    });
    expect(nextState(stopping, exited(400, true), POLICY)).toMatchObject({
      at: "backoff",
      failures: 4,
    });
  });

  test("counts a failed run that was stable as the first failure", () => {
    const failed: ChildEvent = { type: "failed", atMs: 100 + 10_000, killAtMs: 20_000 };
    const stopping = nextState(RUNNING, failed, POLICY);
    expect(nextState(stopping, exited(12_000), POLICY)).toMatchObject({
      at: "backoff",
      failures: 1,
    });
  });

  test("resets the failures after a requested restart, which is due immediately", () => {
    const asked: ChildEvent = { type: "restart_requested", atMs: 300, killAtMs: 900 };
    const stopping = nextState(RUNNING, asked, POLICY);
    expect(stopping).toMatchObject({ at: "stopping", then: "restart" });
    expect(nextState(stopping, exited(400), { ...POLICY, restart: "never" })).toEqual({
      at: "backoff",
      failures: 0,
      retryAtMs: 400,
    });
  });

  test("gives a stop precedence over a restart, in either order", () => {
    const restart: ChildEvent = { type: "restart_requested", atMs: 300, killAtMs: 900 };
    const stop: ChildEvent = { type: "stop_requested", killAtMs: 800 };
    for (const events of [
      [restart, stop],
      [stop, restart],
    ]) {
      const end = events.reduce<ChildState>((s, e) => nextState(s, e, POLICY), RUNNING);
      expect(end).toMatchObject({ at: "stopping", then: "stopped", killAtMs: 800 });
    }
  });
});

const anEvent: fc.Arbitrary<ChildEvent> = fc.oneof(
  fc.record({ type: fc.constant("spawned"), pid: fc.integer({ min: 2, max: 99 }), atMs: fc.nat() }),
  fc.record({ type: fc.constant("spawn_failed"), atMs: fc.nat(), chance: aChance() }),
  fc.record({ type: fc.constant("ready"), atMs: fc.nat() }),
  fc.record({ type: fc.constant("failed"), atMs: fc.nat(), killAtMs: fc.nat() }),
  fc.record({
    type: fc.constant("exited"),
    atMs: fc.nat(),
    clean: fc.boolean(),
    chance: aChance(),
  }),
  fc.record({ type: fc.constant("restart_requested"), atMs: fc.nat(), killAtMs: fc.nat() }),
  fc.record({ type: fc.constant("stop_requested"), killAtMs: fc.nat() }),
);

function aChance(): fc.Arbitrary<number> {
  return fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
}

const aPolicy: fc.Arbitrary<ChildPolicy> = fc.record({
  restart: fc.constantFrom("always", "on-failure", "never"),
  backoff: fc.record({
    baseMs: fc.integer({ min: 0, max: 5000 }),
    capMs: fc.integer({ min: 0, max: 60_000 }),
  }),
  stableAfterMs: fc.nat({ max: 100_000 }),
  ready: fc.constantFrom("spawn", "manual"),
});

/** Runs `check` on every step of random walks from `stopped`. */
function onEveryStep(
  check: (from: ChildState, event: ChildEvent, to: ChildState, policy: ChildPolicy) => void,
): void {
  fc.assert(
    fc.property(aPolicy, fc.array(anEvent, { maxLength: 40 }), (policy, events) => {
      let state: ChildState = { at: "stopped" };
      for (const event of events) {
        const next = nextState(state, event, policy);
        check(state, event, next, policy);
        state = next;
      }
    }),
    { numRuns: 500 },
  );
}

const pidOf = (state: ChildState): number | undefined => ("pid" in state ? state.pid : undefined);

describe("for any sequence of events,", () => {
  test("a pid is set only by a spawn and cleared only by an exit", () => {
    onEveryStep((from, event, to) => {
      if (pidOf(from) === pidOf(to)) return;
      if (pidOf(from) === undefined)
        expect(event).toMatchObject({ type: "spawned", pid: pidOf(to) as number });
      else expect([event.type, pidOf(to)]).toEqual(["exited", undefined]);
    });
  });

  test("a child that is being stopped ends stopped, and its KILL is never postponed", () => {
    onEveryStep((from, event, to) => {
      if (from.at !== "stopping") return;
      if (to.at === "stopping") expect(to.killAtMs).toBeLessThanOrEqual(from.killAtMs);
      if (from.then !== "stopped") return;
      if (event.type === "exited") expect(to).toEqual({ at: "stopped" });
      else expect(to).toMatchObject({ at: "stopping", then: "stopped" });
    });
  });

  test("a stop is never followed by a retry", () => {
    onEveryStep((_, event, to) => {
      if (event.type === "stop_requested") expect(["stopped", "stopping"]).toContain(to.at);
    });
  });

  test("a retry is at most the cap ahead, and an event adds at most one failure", () => {
    onEveryStep((from, event, to, policy) => {
      if (to.at !== "backoff" || to === from) return;
      if (!("atMs" in event)) throw new Error(`backoff entered by ${event.type}`);
      expect(to.retryAtMs).toBeGreaterThanOrEqual(event.atMs);
      expect(to.retryAtMs).toBeLessThanOrEqual(event.atMs + policy.backoff.capMs);
      expect(to.failures).toBeLessThanOrEqual(("failures" in from ? from.failures : 0) + 1);
    });
  });

  test("with restart never, only a requested restart leads to a retry", () => {
    onEveryStep((from, event, to, policy) => {
      if (policy.restart !== "never" || to.at !== "backoff" || from.at === "backoff") return;
      const asked =
        event.type === "restart_requested" || (from.at === "stopping" && from.then === "restart");
      expect(asked).toBe(true);
    });
  });
});
