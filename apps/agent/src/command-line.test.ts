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

test("--detect-only, with and without --json", () => {
  expect(parse("--detect-only")).toEqual({ at: "detect_only", json: false, flags: {} });
  expect(parse("--json --detect-only --config a")).toEqual({
    at: "detect_only",
    json: true,
    flags: { config: "a" },
  });
});

test("--version, with and without --json, and --help", () => {
  expect(parse("--version")).toEqual({ at: "version", json: false });
  expect(parse("--version --json")).toEqual({ at: "version", json: true });
  expect(parse("--help")).toEqual({ at: "help" });
  expect(parse("-h")).toEqual({ at: "help" });
});

test.each([
  ["--bogus", "unknown flag: --bogus"],
  ["--bogus=1", "unknown flag: --bogus"],
  ["--no-json", "unknown flag: --no-json"],
  ["--constructor", "unknown flag: --constructor"],
  ["-x", "unknown argument: -x"],
  ["start", "unknown argument: start"],
  ["--config a run", "unknown argument: run"],
  ["--config", "--config needs a value"],
  ["--config=", "--config needs a value"],
  ["--config --json", "--config needs a value"],
  ["--json=yes --version", "--json takes no value"],
  ["--json", "--json goes with --detect-only or --version"],
  ["--", "unknown flag: --"],
])("%s is refused: %s", (line, message) => {
  expect(parse(line)).toEqual({ at: "usage_error", message });
});

test("the usage names every flag", async () => {
  const text = await usage();
  for (const flag of [
    "config",
    "name",
    "coordinator",
    "state-dir",
    "log-level",
    "detect-only",
    "json",
    "version",
  ])
    expect(text).toContain(`--${flag}`);
});
