import { describe, expect, test } from "bun:test";
import { parseOptions } from "./options.ts";

function parse(line: string) {
  return parseOptions(line.split(" ").filter((word) => word !== ""));
}

describe("parseOptions", () => {
  test("parses the command line of the public tracker", () => {
    expect(parse("--tcp --tcp-host 127.0.0.1 --tcp-port 3012 -c x.yaml -s -")).toEqual({
      do: "run",
      input: { from: "tcp", host: "127.0.0.1", port: 3012 },
      output: "-",
      configPath: "x.yaml",
      detectionWindow: undefined,
      blah2ConfigPath: undefined,
      explain: false,
    });
    expect(parse("in.detection --stream-output out.jsonl --detection-window 5")).toEqual({
      do: "run",
      input: { from: "file", path: "in.detection" },
      output: "out.jsonl",
      configPath: undefined,
      detectionWindow: 5,
      blah2ConfigPath: undefined,
      explain: false,
    });
  });

  test("writes to stdout by default", () => {
    expect(parse("--tcp")).toMatchObject({ output: "-", input: { from: "tcp", port: undefined } });
  });

  test("accepts --help and --version with any other arguments", () => {
    expect(parse("--help --tcp")).toEqual({ do: "help" });
    expect(parse("-h")).toEqual({ do: "help" });
    expect(parse("--version a b")).toEqual({ do: "version" });
  });

  test("accepts ports from 0 to 65535", () => {
    expect(parse("--tcp --tcp-port 0")).toMatchObject({ input: { port: 0 } });
    expect(parse("--tcp --tcp-port 65535")).toMatchObject({ input: { port: 65_535 } });
  });

  test.each([
    "",
    "--tcp file",
    "one two",
    "--tcp --tcp-port 65536",
    "--tcp --tcp-port -1",
    "--tcp --tcp-port x",
    "--tcp --tcp-port 1e3",
    "--tcp --detection-window 0",
    "--tcp --detection-window 21",
    "--tcp --detection-window many",
    "--tcp --unknown",
    "--tcp --tcp-host",
    "--tcp=yes",
  ])("rejects %p", (line) => {
    const options = parse(line);
    expect(options.do).toBe("usage_error");
    if (options.do === "usage_error") expect(options.message).not.toBe("");
  });
});
