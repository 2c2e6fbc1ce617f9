import { expect, test } from "bun:test";
import fc from "fast-check";
import { canonicalRuntime } from "./probe/canonical-runtime.ts";
import { INTERPRETERS } from "./probe/interpreters.ts";
import { resolveRuntimes } from "./resolve-runtimes.ts";

const detected = ["shell", "python"];

test("A5: without a variable or a config, the detected runtimes are offered", () => {
  expect(resolveRuntimes({ override: undefined, config: undefined, detected })).toEqual({
    runtimes: ["shell", "python"],
    tier: "detected",
    problems: [],
  });
});

test("A5: the config overrides detection, the variable overrides both", () => {
  const config = ["python"];
  expect(resolveRuntimes({ override: undefined, config, detected })).toMatchObject({
    tier: "config",
    runtimes: ["python"],
  });
  expect(resolveRuntimes({ override: "shell", config, detected })).toMatchObject({
    tier: "override",
    runtimes: ["shell"],
  });
});

test("A5: aliases work in all three tiers", () => {
  expect(
    resolveRuntimes({ override: " Python3 , sh,rb", config: undefined, detected }).runtimes,
  ).toEqual(["python", "shell", "ruby"]);
  expect(
    resolveRuntimes({ override: undefined, config: ["nodejs", "golang"], detected: ["node", "go"] })
      .runtimes,
  ).toEqual(["node", "go"]);
  expect(
    resolveRuntimes({ override: undefined, config: undefined, detected: ["nodejs", "js"] })
      .runtimes,
  ).toEqual(["node"]);
});

test("A5: the variable is a hard override: unknown and undetected names are kept, each with a warning", () => {
  const { runtimes, problems } = resolveRuntimes({
    override: "python,ruby,cobol",
    config: undefined,
    detected,
  });
  expect(runtimes).toEqual(["python", "ruby", "cobol"]);
  expect(problems).toEqual([
    {
      severity: "warning",
      code: "runtime_not_found",
      name: "ruby",
      message: 'FLEET_AGENT_RUNTIMES names "ruby", but no working ruby was found in this image',
    },
    {
      severity: "warning",
      code: "unknown_runtime",
      name: "cobol",
      message: 'FLEET_AGENT_RUNTIMES names "cobol", which is not a runtime Fleet knows',
    },
  ]);
});

test("A5: an unknown name in the config is an error and dropped; an undetected one is kept with a warning", () => {
  const { runtimes, problems } = resolveRuntimes({
    override: undefined,
    config: ["cobol", "ruby"],
    detected,
  });
  expect(runtimes).toEqual(["ruby"]);
  expect(problems.map(({ severity, code, name }) => [severity, code, name])).toEqual([
    ["error", "unknown_runtime", "cobol"],
    ["warning", "runtime_not_found", "ruby"],
  ]);
});

test("A5, A6: auto is replaced by the detected runtimes, in place", () => {
  const { runtimes, problems } = resolveRuntimes({
    override: undefined,
    config: ["native", "auto", "python"],
    detected,
  });
  expect(runtimes).toEqual(["native", "shell", "python"]);
  expect(problems).toEqual([]);
  expect(
    resolveRuntimes({ override: "auto,native", config: undefined, detected }).runtimes,
  ).toEqual(["shell", "python", "native"]);
});

test("A5: a blank variable counts as unset, and an empty config list means none", () => {
  for (const override of ["", " ", ",", " , ,"]) {
    expect(resolveRuntimes({ override, config: undefined, detected }).tier).toBe("detected");
  }
  expect(resolveRuntimes({ override: undefined, config: [], detected })).toEqual({
    runtimes: [],
    tier: "config",
    problems: [],
  });
});

test("A5: the config's own interpreters can be named like the others", () => {
  const interpreters = [{ name: "julia", aliases: ["jl"] }];
  expect(
    resolveRuntimes({ override: undefined, config: ["JL"], detected: ["julia"], interpreters }),
  ).toEqual({
    runtimes: ["julia"],
    tier: "config",
    problems: [],
  });
});

const names = INTERPRETERS.flatMap(({ name, aliases }) => [name, ...aliases]);
const anyName = fc.oneof(
  fc.constantFrom(...names, "auto", "native", "NATIVE", " Auto "),
  fc.string({ maxLength: 8 }),
);
const anyChoice = fc.record({
  override: fc.option(
    fc.array(anyName).map((list) => list.join(",")),
    { nil: undefined },
  ),
  config: fc.option(fc.array(anyName), { nil: undefined }),
  detected: fc.array(anyName),
});

test("A6: native is offered only when the deciding tier names it", () => {
  fc.assert(
    fc.property(anyChoice, (choice) => {
      const { runtimes, tier } = resolveRuntimes(choice);
      const written =
        tier === "override"
          ? (choice.override ?? "").split(",")
          : tier === "config"
            ? (choice.config ?? [])
            : [];
      const isNamed = written.some((name) => name.trim().toLowerCase() === "native");
      expect(runtimes.includes("native")).toBe(isNamed);
    }),
  );
});

test("A5: each runtime is listed once, under its canonical name, and auto is always replaced", () => {
  fc.assert(
    fc.property(anyChoice, (choice) => {
      const { runtimes, tier } = resolveRuntimes(choice);
      expect(new Set(runtimes).size).toBe(runtimes.length);
      expect(runtimes).not.toContain("auto");
      for (const name of runtimes) expect(canonicalRuntime(name) ?? name).toBe(name);
      if (tier === "config" && choice.detected.length === 0) {
        for (const name of runtimes) expect(canonicalRuntime(name)).toBe(name);
      }
    }),
  );
});

test("A5: the result written into the variable resolves to the same runtimes", () => {
  fc.assert(
    fc.property(anyChoice, (choice) => {
      const first = resolveRuntimes(choice).runtimes;
      fc.pre(first.length > 0 && first.every((name) => !name.includes(",")));
      const again = resolveRuntimes({ ...choice, override: first.join(",") });
      expect(again).toMatchObject({ runtimes: first, tier: "override" });
    }),
  );
});

test("A5: every alias of the table resolves equally in the variable, the config and the detected names", () => {
  for (const { name, aliases } of INTERPRETERS)
    for (const alias of [name, ...aliases].flatMap((one) => [one, ` ${one.toUpperCase()} `])) {
      const none = { override: undefined, config: undefined, detected: [] };
      for (const choice of [
        { ...none, override: alias },
        { ...none, config: [alias] },
        { ...none, detected: [alias] },
      ])
        expect(resolveRuntimes(choice).runtimes).toEqual([name]);
    }
});

test("A6: native as a detected name, or as an interpreter of the config, is not offered", () => {
  const interpreters = [{ name: "native", aliases: ["auto"] }];
  const choice = { override: undefined, detected: ["native", "python", "NATIVE"], interpreters };
  expect(resolveRuntimes({ ...choice, config: undefined }).runtimes).toEqual(["python"]);
  expect(resolveRuntimes({ ...choice, config: ["auto"] }).runtimes).toEqual(["python"]);
  expect(resolveRuntimes({ ...choice, config: ["auto", "native"] }).runtimes).toEqual([
    "python",
    "native",
  ]);
});
