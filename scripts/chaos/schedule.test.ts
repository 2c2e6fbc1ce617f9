import { describe, expect, test } from "bun:test";
import { seededRandom } from "../../packages/daemon/src/index.ts";
import { type Action, describeAction, makeSchedule } from "./schedule.ts";

const OPTIONS = { agents: 3, durationMs: 600_000, hasDisks: true };

function schedule(seed: number, options = OPTIONS) {
  return makeSchedule(seededRandom(seed), options);
}

describe("a schedule", () => {
  test("depends on the seed alone", () => {
    expect(schedule(1)).toEqual(schedule(1));
    expect(schedule(1)).not.toEqual(schedule(2));
  });

  test("has several actions per second, in order, of every kind and for every agent", () => {
    const steps = schedule(1);
    expect(steps.length).toBeGreaterThan(OPTIONS.durationMs / 500);
    expect(steps.map(({ atMs }) => atMs)).toEqual(
      steps.map(({ atMs }) => atMs).toSorted((a, b) => a - b),
    );
    expect(steps.at(-1)!.atMs).toBeLessThan(OPTIONS.durationMs);
    const kinds: Record<Action["at"], boolean> = {
      kill_agent: true,
      term_agent: true,
      kill_settled_agent: true,
      freeze_agent: true,
      kill_coordinator: true,
      term_coordinator: true,
      freeze_coordinator: true,
      kill_tracker: true,
      freeze_tracker: true,
      freeze_trackers_and_cut: true,
      cut: true,
      stall: true,
      half_open: true,
      partition: true,
      fill_agent: true,
      fill_coordinator: true,
      reconnect_plain: true,
    };
    expect(new Set(steps.map(({ action }) => action.at))).toEqual(
      new Set(Object.keys(kinds) as Action["at"][]),
    );
    const agents = steps.flatMap(({ action }) => ("agent" in action ? [action.agent] : []));
    expect(new Set(agents)).toEqual(new Set([0, 1, 2]));
  });

  test("fills no disk where none can be mounted", () => {
    const kinds = schedule(1, { ...OPTIONS, hasDisks: false }).map(({ action }) => action.at);
    expect(kinds.filter((kind) => kind.startsWith("fill"))).toEqual([]);
  });

  test("is readable", () => {
    expect(describeAction({ at: "stall", pick: 0.25, forMs: 30 })).toBe(
      "stall pick=0.250 forMs=30",
    );
  });
});
