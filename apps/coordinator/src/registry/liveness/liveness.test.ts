import { describe, expect, test } from "bun:test";
import { FakeClock } from "@fleet/daemon/testing";
import fc from "fast-check";
import { type Heard, type LivenessWindows, nodeStateAt } from "./liveness.ts";

const WINDOWS: LivenessWindows = { staleAfterMs: 90_000, deadAfterMs: 300_000 };

describe("the state of a node (R5)", () => {
  test.each([
    [0, "LIVE"],
    [89_999, "LIVE"],
    [90_000, "STALE"],
    [389_999, "STALE"],
    [390_000, "DEAD"],
    [1e12, "DEAD"],
  ] as const)("heard %d ms ago is %s", (silentMs, state) => {
    const heard: Heard = { heardAtMs: 1000, isShutdown: false };
    expect(nodeStateAt(heard, 1000 + silentMs, 0, WINDOWS)).toBe(state);
  });

  test.each([
    [0, "UNKNOWN"],
    [89_999, "UNKNOWN"],
    [90_000, "STALE"],
    [389_999, "STALE"],
    [390_000, "DEAD"],
  ] as const)("not heard in %d ms of our own time is %s", (upMs, state) => {
    const heard: Heard = { heardAtMs: undefined, isShutdown: false };
    expect(nodeStateAt(heard, 5000 + upMs, 5000, WINDOWS)).toBe(state);
  });

  test("after a goodbye is SHUTDOWN, however long ago and whatever arrives late", () => {
    for (const heardAtMs of [undefined, 0, 400_000])
      expect(nodeStateAt({ heardAtMs, isShutdown: true }, 400_000, 0, WINDOWS)).toBe("SHUTDOWN");
  });
});

type Step =
  | { readonly do: "wait"; readonly ms: number }
  | { readonly do: "hear" }
  | { readonly do: "bye" }
  | { readonly do: "register" }
  | { readonly do: "restart" }
  | { readonly do: "jump"; readonly ms: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.nat(400_000) }) },
  { weight: 3, arbitrary: fc.constant({ do: "hear" as const }) },
  { weight: 1, arbitrary: fc.constant({ do: "bye" as const }) },
  { weight: 1, arbitrary: fc.constant({ do: "register" as const }) },
  { weight: 1, arbitrary: fc.constant({ do: "restart" as const }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("jump" as const),
      ms: fc.integer({ min: -1e10, max: 1e10 }),
    }),
  },
);

/** The rule in plain words, kept by hand beside the clock: silence, own uptime, goodbye. */
class Model {
  silentMs = 0;
  isHeard = false;
  isShutdown = false;

  state(): string {
    if (this.isShutdown) return "SHUTDOWN";
    if (this.silentMs >= 390_000) return "DEAD";
    if (this.silentMs >= 90_000) return "STALE";
    return this.isHeard ? "LIVE" : "UNKNOWN";
  }
}

test("whatever happens in whatever order, only silence in our uptime decides, never a jump of the wall clock (R5)", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const clock = new FakeClock();
      const model = new Model();
      let startedAtMs = clock.monotonicMs();
      let heard: Heard = { heardAtMs: undefined, isShutdown: false };
      for (const s of steps) {
        switch (s.do) {
          case "wait":
            clock.advance(s.ms);
            model.silentMs += s.ms;
            break;
          case "jump":
            clock.jumpWall(s.ms);
            break;
          case "hear":
          case "register":
            heard = {
              heardAtMs: clock.monotonicMs(),
              isShutdown: s.do === "hear" && heard.isShutdown,
            };
            Object.assign(model, { silentMs: 0, isHeard: true, isShutdown: heard.isShutdown });
            break;
          case "bye":
            heard = { ...heard, isShutdown: true };
            model.isShutdown = true;
            break;
          case "restart":
            startedAtMs = clock.monotonicMs();
            heard = { heardAtMs: undefined, isShutdown: heard.isShutdown };
            Object.assign(model, { silentMs: 0, isHeard: false });
        }
        expect(nodeStateAt(heard, clock.monotonicMs(), startedAtMs, WINDOWS)).toBe(
          model.state() as never,
        );
      }
    }),
  );
});
