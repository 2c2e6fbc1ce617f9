/** Checks the whole registry against a model, through random sequences of registers, silences, clock jumps, restarts and kills. */
import { describe, expect, test } from "bun:test";
import type { NodeId, NodeState } from "@fleet/protocol";
import fc from "fast-check";
import { nodeId } from "../testing.ts";
import { registrationAt, Rig } from "./testing.ts";

const STALE_MS = 90_000;
const DEAD_MS = STALE_MS + 300_000;
const TICK_MS = 1000;
/** At most this much of a stall counts as silence. */
const STALL_COUNTED_MS = 2000;
/** A kill loses at most this much of our uptime. */
const FLUSH_MS_MAX = 60_000;
const YEARS_MS = 1e12;
const NODES = ["a", "b", "c"].map(nodeId);

type Act = "hear" | "hearPlain" | "goodbye" | "remove" | "block" | "unblock";
type Step =
  | { readonly do: "wait" | "stall" | "jump"; readonly ms: number }
  | { readonly do: "stop" | "kill" }
  /** An instance that is a URL stands for an agent that registers only its address. */
  | { readonly do: "register"; readonly node: NodeId; readonly instance: string }
  | { readonly do: Act; readonly node: NodeId };

const node = fc.constantFrom(...NODES);
const on = (...acts: Act[]) => fc.record({ do: fc.constantFrom(...acts), node });
/** Often just below or above a limit. */
const wait = fc.oneof(
  fc.nat(150_000),
  fc
    .tuple(fc.constantFrom(TICK_MS, STALE_MS, DEAD_MS), fc.integer({ min: -2, max: 2 }))
    .map(([limitMs, byMs]) => limitMs + byMs),
);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: wait.map((ms) => ({ do: "wait" as const, ms })) },
  { weight: 2, arbitrary: fc.nat(10_000_000).map((ms) => ({ do: "stall" as const, ms })) },
  {
    weight: 2,
    arbitrary: fc
      .integer({ min: -YEARS_MS, max: YEARS_MS })
      .map((ms) => ({ do: "jump" as const, ms })),
  },
  { weight: 2, arbitrary: fc.constantFrom({ do: "stop" as const }, { do: "kill" as const }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("register" as const),
      node,
      instance: fc.constantFrom("i1", "i2", "i3", "http://a", "http://b"),
    }),
  },
  { weight: 6, arbitrary: on("hear", "hearPlain") },
  { weight: 2, arbitrary: on("goodbye", "remove") },
  { weight: 1, arbitrary: on("block", "unblock") },
);

const DEAD_AT_A_RESTART: Step[] = [
  { do: "register", node: NODES[0]!, instance: "i1" },
  { do: "wait", ms: DEAD_MS + TICK_MS },
  { do: "stop" },
  { do: "wait", ms: STALE_MS + TICK_MS },
  { do: "wait", ms: DEAD_MS },
];

function isAddress(instance: string): boolean {
  return instance.startsWith("http:");
}

/** The expected state of one node. Silence is in the coordinator's uptime. */
class ModelNode {
  silentMs = 0;
  isHeard = true;
  isShutdown = false;
  isPlain: boolean;
  instance: string | undefined;

  constructor(isPlain: boolean) {
    this.isPlain = isPlain;
  }

  /** Its state, or its state `agoMs` ago if it has not been heard since. */
  state(agoMs = 0): NodeState {
    if (this.isShutdown) return "SHUTDOWN";
    if (this.silentMs - agoMs >= DEAD_MS) return "DEAD";
    if (this.silentMs - agoMs >= STALE_MS) return "STALE";
    return this.isHeard ? "LIVE" : "UNKNOWN";
  }

  hear(): void {
    this.silentMs = 0;
    this.isHeard = true;
  }
}

class Model {
  readonly nodes = new Map<NodeId, ModelNode>();
  readonly blocked = new Set<NodeId>();
  readonly replaced = new Set<string>();
  /** The highest epoch each id has had, in any of its lives. */
  readonly epochs = new Map<NodeId, number>();
  /** Time since the registry's last sweep, ms. */
  sinceTickMs = 0;

  pass(ms: number): void {
    for (const known of this.nodes.values()) known.silentMs += ms;
    this.sinceTickMs = (this.sinceTickMs + ms) % TICK_MS;
  }

  /** Nothing runs for `ms`; then everything that is due runs. */
  stall(ms: number): void {
    const sinceTickMs = this.sinceTickMs + ms;
    const countedMs = Math.min(sinceTickMs, STALL_COUNTED_MS) - this.sinceTickMs;
    for (const known of this.nodes.values()) known.silentMs += countedMs;
    this.sinceTickMs = sinceTickMs >= TICK_MS ? 0 : sinceTickMs;
  }

  restart(): void {
    this.sinceTickMs = 0;
    for (const known of this.nodes.values()) {
      known.silentMs = 0;
      known.isHeard = false;
    }
  }

  /** Returns whether the register succeeds. */
  register(id: NodeId, instance: string): boolean {
    const known = this.nodes.get(id);
    if (this.blocked.has(id)) return false;
    if (known?.instance !== instance && this.replaced.has(`${id} ${instance}`)) return false;
    // An agent without an instance is never barred.
    if (known?.instance !== undefined && known.instance !== instance && !isAddress(known.instance))
      this.replaced.add(`${id} ${known.instance}`);
    const now = known ?? new ModelNode(false);
    this.nodes.set(id, now);
    now.hear();
    Object.assign(now, { instance, isPlain: false, isShutdown: false });
    return true;
  }

  hearPlain(id: NodeId): void {
    if (this.blocked.has(id)) return;
    const known = this.nodes.get(id);
    if (known === undefined) this.nodes.set(id, new ModelNode(true));
    else if (known.isPlain || isAddress(known.instance!)) known.hear();
  }
}

/** Applies `one` to both. */
async function act(rig: Rig, model: Model, one: Step): Promise<void> {
  const { registry, clock } = rig;
  switch (one.do) {
    case "wait":
      clock.advance(one.ms);
      return model.pass(one.ms);
    case "stall":
      clock.stall(one.ms);
      clock.advance(0);
      return model.stall(one.ms);
    case "jump":
      return clock.jumpWall(one.ms);
    case "stop":
      rig.restart();
      return model.restart();
    case "kill":
      rig.kill();
      return model.restart();
    case "register":
      return register(rig, model, one.node, one.instance);
    case "hear":
      registry.heard(one.node);
      return model.nodes.get(one.node)?.hear();
    case "hearPlain":
      registry.heardPlain(one.node);
      return model.hearPlain(one.node);
    case "goodbye":
      await registry.deregister(one.node);
      return void Object.assign(model.nodes.get(one.node) ?? {}, { isShutdown: true });
    case "block":
      await registry.block(one.node);
      model.blocked.add(one.node);
      return void model.nodes.delete(one.node);
    case "remove":
      expect(await registry.remove(one.node)).toBe(model.nodes.delete(one.node));
      return;
    case "unblock":
      expect(await registry.unblock(one.node)).toBe(model.blocked.delete(one.node));
  }
}

async function register(rig: Rig, model: Model, id: NodeId, instance: string): Promise<void> {
  const isSame = model.nodes.get(id)?.instance === instance;
  const outcome = isAddress(instance)
    ? await rig.registry.register(registrationAt(id, instance))
    : await rig.register(instance, id);
  expect(outcome.at === "registered").toBe(model.register(id, instance));
  if (outcome.at !== "registered") return;
  const before = model.epochs.get(id) ?? 0;
  if (isSame) expect(outcome.epoch).toBe(before);
  else expect(outcome.epoch).toBeGreaterThan(before);
  model.epochs.set(id, outcome.epoch);
}

/** Each published change starts from the state before it, and is in the history. */
function checkChain(rig: Rig, id: NodeId): void {
  const changes: string[] = [];
  let last = "UNKNOWN";
  for (const { event, data } of rig.registry.history(id, 100).toReversed()) {
    if (event === "removed") last = "UNKNOWN";
    if (event !== "state") continue;
    expect(data["previous_state"]).toBe(last);
    expect(["UNKNOWN", last]).not.toContain(data["state"]);
    // After a restart it is UNKNOWN, then STALE on its way back to DEAD: neither is published.
    expect([last, data["state"]]).not.toEqual(["DEAD", "STALE"]);
    last = String(data["state"]);
    changes.push(`${id} ${data["previous_state"]}→${last}`);
  }
  expect(rig.published.filter((change) => change.startsWith(`${id} `))).toEqual(changes);
  expect(rig.row(id)?.publishedState ?? "UNKNOWN").toBe(last as NodeState);
}

function checkStates(rig: Rig, model: Model, isSwept: boolean): void {
  expect(rig.registry.list().map((n) => n.id)).toEqual([...model.nodes.keys()].toSorted());
  for (const [id, known] of model.nodes) {
    expect([id, rig.state(id)]).toEqual([id, known.state()]);
    const swept = known.state(model.sinceTickMs);
    const shown = rig.registry.get(id)!.row.publishedState;
    const isOnTheWay = !known.isHeard && swept === "STALE" && shown === "DEAD";
    if (isSwept && swept !== "UNKNOWN" && !isOnTheWay) expect(shown).toBe(swept);
  }
}

describe("after any sequence of registers, silences, clock jumps and restarts", () => {
  test("a node's state follows from its silence in our uptime, each change is published once, and epochs rise (R3, R4, R5, R9, R10)", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const rig = new Rig();
        const model = new Model();
        for (const one of steps) {
          await act(rig, model, one);
          checkStates(rig, model, one.do === "wait" && one.ms >= TICK_MS);
        }
        for (const id of NODES) checkChain(rig, id);
      }),
      { numRuns: 200, examples: [[DEAD_AT_A_RESTART]] },
    );
  });

  test("a node is removed after its retention in our uptime, neither before nor much later (R4)", async () => {
    const run = fc.record({
      upMs: fc.integer({ min: 0, max: 1_800_000 }),
      downMs: fc.integer({ min: -YEARS_MS, max: YEARS_MS }),
      isKilled: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(run, { minLength: 1, maxLength: 8 }), async (runs) => {
        const retentionMs = 3_600_000;
        const rig = new Rig({ retentionMs: { persistent: retentionMs, ephemeral: 1 } });
        await rig.register("i1", NODES[0]);
        let upMs = 0;
        let lostMs = 0;
        for (const { upMs: ms, downMs, isKilled } of runs) {
          await rig.advance(ms);
          upMs += ms;
          const isThere = rig.registry.get(NODES[0]!) !== undefined;
          if (upMs < retentionMs) expect(isThere).toBe(true);
          // In this run it has been DEAD for a while; kills have lost the uptime that was not written.
          if (upMs - lostMs >= retentionMs + 2 * TICK_MS && ms > DEAD_MS + 2 * TICK_MS)
            expect(isThere).toBe(false);
          if (isKilled) lostMs += FLUSH_MS_MAX;
          if (isKilled) rig.kill();
          else rig.restart();
          rig.clock.jumpWall(downMs);
        }
      }),
      { numRuns: 30 },
    );
  });
});

describe("a coordinator that stalls (R5)", () => {
  test("counts no stall as silence, however long it was, since messages waited in its sockets", async () => {
    const rig = new Rig();
    for (const id of NODES) await rig.register("i1", id);
    rig.clock.advance(STALE_MS - 5000);
    rig.clock.stall(3_600_000);
    // Either the sweep or a reader may run first.
    expect(NODES.map((id) => rig.state(id))).toEqual(["LIVE", "LIVE", "LIVE"]);
    rig.clock.advance(0);
    expect(NODES.map((id) => rig.state(id))).toEqual(["LIVE", "LIVE", "LIVE"]);
    rig.registry.heard(NODES[0]!);
    rig.clock.advance(5000);
    expect(NODES.map((id) => rig.state(id))).toEqual(["LIVE", "STALE", "STALE"]);
    expect(rig.log.count("stalled; the time lost does not count as silence of any node")).toBe(1);
  });

  test("repeatedly counts the silence between its stalls", async () => {
    const rig = new Rig();
    await rig.register("i1", NODES[0]);
    for (let n = 0; n < 100; n++) {
      rig.clock.stall(60_000);
      rig.clock.advance(0);
      rig.clock.advance(1000);
    }
    expect(rig.state(NODES[0])).toBe("STALE");
  });
});
