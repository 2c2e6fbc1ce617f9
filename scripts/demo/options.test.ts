import { describe, expect, test } from "bun:test";
import { parseOptions } from "./options.ts";

const DEFAULTS = {
  once: false,
  seconds: undefined,
  httpPort: 7700,
  framesPort: 30_050,
  keep: false,
};

describe("the demo's command line", () => {
  test("runs until stopped, on the default ports, without flags", () => {
    expect(parseOptions([])).toEqual({ at: "run", options: DEFAULTS });
  });

  test("accepts every flag, with a space or with =", () => {
    const argv = ["--once", "--seconds", "7", "--http-port=1", "--frames-port", "65535", "--keep"];
    expect(parseOptions(argv)).toEqual({
      at: "run",
      options: { once: true, seconds: 7, httpPort: 1, framesPort: 65_535, keep: true },
    });
  });

  test("--once lasts 20 s unless --seconds says otherwise", () => {
    expect(parseOptions(["--once"])).toEqual({
      at: "run",
      options: { ...DEFAULTS, once: true, seconds: 20 },
    });
  });

  test("--help is not an error", () => {
    expect(parseOptions(["--help"]).at).toBe("help");
  });

  test.each([
    [["--onec"], "--onec"],
    [["once"], "once"],
    [["--http-port"], "--http-port"],
    [["--http-port", "0"], "--http-port must be a whole number from 1 to 65535"],
    [["--http-port", "65536"], "--http-port"],
    [["--frames-port", "7.5"], "--frames-port"],
    [["--frames-port", "7700"], "must differ"],
    [["--seconds", "0"], "--seconds"],
    [["--seconds", "soon"], `not "soon"`],
    [["--once=yes"], "--once"],
  ])("%p is refused, and the message names it", (argv, message) => {
    const parsed = parseOptions(argv);
    expect(parsed.at === "usage_error" && parsed.message).toContain(message);
  });
});
