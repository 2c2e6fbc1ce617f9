import { expect, test } from "bun:test";
import { parseCommandLine } from "./command-line.ts";
import { installUsage } from "./install-command-line.ts";
import { FAILURES } from "../install/failure.ts";

const parse = (line: string) => parseCommandLine(line.split(" "));

test.each([
  ["install /fleet", { dir: "/fleet", mode: 0o755, json: false }],
  ["install --json ./a --mode 0555", { dir: "./a", mode: 0o555, json: true }],
  ["install --mode=500 run", { dir: "run", mode: 0o500, json: false }],
  ["install /fleet --mode=0777", { dir: "/fleet", mode: 0o777, json: false }],
])("%s", (line, flags) => {
  expect(parse(line)).toEqual({ at: "install", flags });
});

test.each(["install --help", "install -h", "install /fleet --help"])("%s asks for help", (line) => {
  expect(parse(line)).toEqual({ at: "install_help" });
});

const BAD_MODE = "--mode must be octal, at most 0777, and allow the owner to read and execute";

test.each([
  ["install", "install requires a directory"],
  ["install ", "unknown argument: "],
  ["install a b", "unknown argument: b"],
  ["install -x", "unknown argument: -x"],
  ["install a --dir=b", "unknown flag: --dir"],
  ["install a --name=b", "unknown flag: --name"],
  ["install a --mode", "--mode requires a value"],
  ["install a --json=1", "--json takes no value"],
  ["install a --mode 755x", `${BAD_MODE}: 755x`],
  ["install a --mode 0o755", `${BAD_MODE}: 0o755`],
  ["install a --mode 888", `${BAD_MODE}: 888`],
  ["install a --mode 55", `${BAD_MODE}: 55`],
  ["install a --mode 4755", `${BAD_MODE}: 4755`],
  ["install a --mode 0644", `${BAD_MODE}: 0644`],
  ["install a --mode 0355", `${BAD_MODE}: 0355`],
])("%s is refused: %s", (line, message) => {
  expect(parse(line)).toEqual({ at: "usage_error", message });
});

test("the usage names the flags and every exit code", async () => {
  const text = Bun.stripANSI(await installUsage());
  for (const word of ["DIR", "--mode", "--json"]) expect(text).toContain(word);
  for (const { exit, meaning } of Object.values(FAILURES))
    expect(text).toContain(`${exit}  ${meaning}`);
});
