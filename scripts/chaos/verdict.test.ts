import { describe, expect, test } from "bun:test";
import { keyOf, type TrackerInput } from "./frames.ts";
import {
  type PlainStreamFacts,
  plainProblems,
  type SensorFacts,
  sensorProblems,
  type SensorStreamFacts,
} from "./verdict.ts";

/** Returns frames `from … to` of a run. */
function frames(run: number, from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => keyOf(run, from + i));
}

function input(keys: readonly number[], change: Partial<TrackerInput> = {}): TrackerInput {
  return { life: 1, pid: 1, isEnded: true, frames: keys, ...change };
}

function sensorRun(change: Partial<SensorFacts> = {}): SensorFacts {
  return { run: 1, life: 1, begun: 10, done: 10, end: "soft", promised: 0, written: 0, ...change };
}

/** A stream of ten frames that have all arrived. */
function sensor(change: Partial<SensorStreamFacts> = {}): SensorStreamFacts {
  return {
    stream: "a.s",
    inputs: [input(frames(1, 1, 10))],
    isKilledLife: () => false,
    policy: "keeps_all",
    runs: [sensorRun()],
    counters: { produced: 10, acked: 10, spooled: 0, dropped: {} },
    ...change,
  };
}

function plain(change: Partial<PlainStreamFacts> = {}): PlainStreamFacts {
  return {
    stream: "p",
    inputs: [input(frames(1, 1, 10))],
    isKilledLife: () => false,
    connections: [{ id: 1, sent: 10, isWhole: true }],
    dropped: 0,
    accepted: 10,
    lastLife: 1,
    ...change,
  };
}

function expectOne(problems: readonly string[], text: string): void {
  expect(problems).toHaveLength(1);
  expect(problems[0]).toContain(text);
}

describe("the verdict on a sensor's stream", () => {
  test("is clean when every frame has arrived, even over several runs of the tracker", () => {
    expect(sensorProblems(sensor())).toEqual([]);
    const inputs = [input(frames(1, 1, 4)), input(frames(1, 5, 10))];
    expect(sensorProblems(sensor({ inputs }))).toEqual([]);
  });

  test("finds a frame that never arrived", () => {
    const inputs = [input([...frames(1, 1, 4), ...frames(1, 6, 10)])];
    const problems = sensorProblems(sensor({ inputs }));
    expect(problems[0]).toBe(
      "a.s: 1 frames never reached its tracker, the first being frame 5 of run 1; 0 are counted as dropped",
    );
  });

  test("finds a frame that one run of the tracker received twice or late", () => {
    const twice = [input([...frames(1, 1, 10), keyOf(1, 10)])];
    expectOne(sensorProblems(sensor({ inputs: twice })), "frame 10 of run 1 twice in a row");
    const late = [input([...frames(1, 1, 8), keyOf(1, 10), keyOf(1, 9)])];
    expectOne(sensorProblems(sensor({ inputs: late })), "frame 9 of run 1 after frame 10 of run 1");
  });

  test("allows a frame again after a tracker or the coordinator was killed, and only then", () => {
    const [first, second] = [frames(1, 1, 6), frames(1, 5, 10)];
    const calm = sensor({ inputs: [input(first), input(second)] });
    expectOne(sensorProblems(calm), "frame 5 of run 1 again, although nothing was killed");
    const killedTracker = [input(first, { isEnded: false }), input(second)];
    expect(sensorProblems(sensor({ inputs: killedTracker }))).toEqual([]);
    const killedLife = [input(first), input(second, { life: 2 })];
    const isKilledLife = (life: number): boolean => life === 1;
    expect(sensorProblems(sensor({ inputs: killedLife, isKilledLife }))).toEqual([]);
    const long = [input(first, { isEnded: false }), input([]), input([]), input(second)];
    expectOne(sensorProblems(sensor({ inputs: long })), "again");
  });

  test("finds a frame that was never printed", () => {
    const inputs = [input(frames(1, 1, 11))];
    const problems = sensorProblems(sensor({ inputs }));
    expect(problems[0]).toContain("frame 11 of run 1, which was never printed");
  });

  test("lets a killed agent lose its last frames, but no others and no promised ones", () => {
    const counters = { produced: 6, acked: 6, spooled: 0, dropped: {} };
    const killed = (keys: readonly number[], promised: number): readonly string[] =>
      sensorProblems(
        sensor({
          inputs: [input(keys)],
          runs: [sensorRun({ end: "hard", promised, written: promised })],
          counters,
        }),
      );
    expect(killed(frames(1, 1, 6), 6)).toEqual([]);
    expectOne(
      killed([...frames(1, 1, 5), keyOf(1, 7)], 4),
      "frame 6 of run 1 is missing, although",
    );
    expect(killed(frames(1, 1, 6), 7)[0]).toContain("1 frames never reached its tracker");
  });

  test("lets a full spool drop what it counts as dropped, if its policy allows that", () => {
    const inputs = [input([...frames(1, 1, 2), ...frames(1, 6, 10)])];
    const counters = { produced: 10, acked: 7, spooled: 0, dropped: { spool_full: 3 } };
    expect(sensorProblems(sensor({ inputs, counters, policy: "drops" }))).toEqual([]);
    const fewer = { produced: 10, acked: 8, spooled: 0, dropped: { spool_full: 2 } };
    expect(sensorProblems(sensor({ inputs, counters: fewer, policy: "drops" }))).not.toEqual([]);
    expect(sensorProblems(sensor({ inputs, counters }))[0]).toContain("nothing may be dropped");
  });

  test.each([
    [{ produced: 10, acked: 9, spooled: 0, dropped: {} }, "the balance does not hold"],
    [{ produced: 10, acked: 9, spooled: 1, dropped: {} }, "left in the spool at rest"],
    [
      { produced: 11, acked: 11, spooled: 0, dropped: {} },
      "10 frames were produced, but 11 are counted",
    ],
    [
      { produced: 9, acked: 9, spooled: 0, dropped: {} },
      "10 frames were produced, but 9 are counted",
    ],
  ])("finds wrong counters: %p", (counters, text) => {
    expect(sensorProblems(sensor({ counters })).join("\n")).toContain(text);
  });
});

describe("the verdict on a plain node's stream", () => {
  test("is clean when every frame has arrived", () => {
    expect(plainProblems(plain())).toEqual([]);
  });

  test("accepts connections read in turn, each in order", () => {
    const both = [
      { id: 1, sent: 2, isWhole: true },
      { id: 2, sent: 2, isWhole: true },
    ];
    const mixed = [keyOf(1, 1), keyOf(2, 1), keyOf(1, 2), keyOf(2, 2)];
    const facts = plain({ connections: both, inputs: [input(mixed)], accepted: 4 });
    expect(plainProblems(facts)).toEqual([]);
    const late = [keyOf(1, 2), keyOf(2, 1), keyOf(1, 1), keyOf(2, 2)];
    expectOne(plainProblems({ ...facts, inputs: [input(late)] }), "frame 1 of run 1 after");
  });

  test("allows losses from a broken connection; from an orderly one only those counted as dropped", () => {
    const inputs = [input(frames(1, 1, 8))];
    expectOne(
      plainProblems(plain({ inputs, accepted: 8 })),
      "2 frames of connections that ended in good order are missing",
    );
    expect(plainProblems(plain({ inputs, accepted: 8, dropped: 2 }))).toEqual([]);
    const connections = [{ id: 1, sent: 10, isWhole: false }];
    expect(plainProblems(plain({ inputs, accepted: 8, connections }))).toEqual([]);
  });

  test("finds a coordinator whose count differs from what the tracker has read", () => {
    expectOne(
      plainProblems(plain({ accepted: 11 })),
      "has read 10 frames, but the coordinator counts 11",
    );
  });
});
