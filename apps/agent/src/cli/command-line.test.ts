import { expect, test } from "bun:test";
import { parseCommandLine, usage } from "./command-line.ts";

const parse = (line: string) => parseCommandLine(line === "" ? [] : line.split(" "));

test.each(["", "run"])("%p runs the agent", (line) => {
  expect(parse(line)).toEqual({ at: "run", flags: {} });
});

test("every flag of run is read, with a blank or = before its value", () => {
  const line =
    "run --config a.yaml --name=radar3 --coordinator http://c:1 --state-dir=/s --log-level debug";
  expect(parse(line)).toEqual({
    at: "run",
    flags: {
      config: "a.yaml",
      name: "radar3",
      coordinator: "http://c:1",
      stateDir: "/s",
      logLevel: "debug",
    },
  });
});

test("--detect-only, with and without its flags", () => {
  expect(parse("--detect-only")).toEqual({
    at: "detect_only",
    detect: { json: false, fresh: false, why: undefined },
    flags: {},
  });
  expect(parse("--json --detect-only --fresh --config a")).toEqual({
    at: "detect_only",
    detect: { json: true, fresh: true, why: undefined },
    flags: { config: "a" },
  });
  expect(parse("--detect-only --why py")).toMatchObject({ detect: { json: false, why: "py" } });
});

test("doctor, with and without --json", () => {
  expect(parse("doctor")).toEqual({ at: "doctor", json: false, flags: {} });
  expect(parse("doctor --json --state-dir /s --name n")).toEqual({
    at: "doctor",
    json: true,
    flags: { stateDir: "/s", name: "n" },
  });
});

test("logs, with sensor, lines and follow", () => {
  expect(parse("logs radar")).toEqual({
    at: "logs",
    logs: { sensor: "radar", lines: 100, follow: false },
    flags: {},
  });
  for (const follow of ["-f", "--follow"])
    expect(parse(`logs ${follow} radar --lines 7 --state-dir /s`)).toEqual({
      at: "logs",
      logs: { sensor: "radar", lines: 7, follow: true },
      flags: { stateDir: "/s" },
    });
});

test("--version, with and without --json, and --help", () => {
  expect(parse("--version")).toEqual({ at: "version", json: false });
  expect(parse("--version --json")).toEqual({ at: "version", json: true });
  expect(parse("--help")).toEqual({ at: "help", of: "run" });
  expect(parse("-h")).toEqual({ at: "help", of: "run" });
  expect(parse("doctor -h")).toEqual({ at: "help", of: "doctor" });
  expect(parse("logs --help")).toEqual({ at: "help", of: "logs" });
});

test.each([
  ["--bogus", "unknown flag: --bogus"],
  ["--bogus=1", "unknown flag: --bogus"],
  ["--no-json", "unknown flag: --no-json"],
  ["--constructor", "unknown flag: --constructor"],
  ["-x", "unknown argument: -x"],
  ["start", "unknown argument: start"],
  ["--config a run", "unknown argument: run"],
  ["--config", "--config requires a value"],
  ["--config=", "--config requires a value"],
  ["--config --json", "--config requires a value"],
  ["--json=yes --version", "--json takes no value"],
  ["--json", "--json requires --detect-only or --version"],
  ["--why python", "--why requires --detect-only"],
  ["--fresh", "--fresh requires --detect-only"],
  [
    "--detect-only --json --why py",
    "--why can't be combined with --json, which has the evidence for every runtime",
  ],
  ["-f", "unknown argument: -f"],
  ["doctor radar", "unknown argument: radar"],
  ["doctor --log-level debug", "unknown flag: --log-level"],
  ["logs", "logs requires the name of a sensor"],
  ["logs a b", "unknown argument: b"],
  ["logs a --lines many", "--lines must be a whole number up to 1000000: many"],
  ["logs a --lines -1", "--lines requires a value"],
  ["--", "unknown flag: --"],
])("%s is refused: %s", (line, message) => {
  expect(parse(line)).toEqual({ at: "usage_error", message });
});

test.each([
  [
    "run",
    "config name coordinator state-dir log-level detect-only why fresh json version".split(" "),
  ],
  ["doctor", "config name coordinator state-dir json".split(" ")],
  ["logs", "config state-dir lines follow".split(" ")],
] as const)("the usage of %s names every flag", async (topic, flags) => {
  const text = await usage(topic);
  for (const flag of flags) expect(text).toContain(`--${flag}`);
});
