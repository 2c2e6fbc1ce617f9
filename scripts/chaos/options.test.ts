import { describe, expect, test } from "bun:test";
import { parseOptions } from "./options.ts";

describe("the command line of the chaos test", () => {
  test("defaults to one minute, three agents and the given seed", () => {
    expect(parseOptions([], 7)).toEqual({
      at: "run",
      options: { seed: 7, minutes: 1, agents: 3, keep: false },
    });
  });

  test("accepts a seed, a fraction of a minute and a number of agents", () => {
    const args = ["--seed", "4294967295", "--minutes", "0.5", "--agents", "1", "--keep"];
    expect(parseOptions(args, 7)).toEqual({
      at: "run",
      options: { seed: 4_294_967_295, minutes: 0.5, agents: 1, keep: true },
    });
  });

  test.each([
    [["--seed", "4294967296"], "--seed must be a number from 0 to 4294967295"],
    [["--seed", "-1"], "--seed"],
    [["--minutes", "0"], "--minutes must be a number from 0.1"],
    [["--minutes", "1e3"], "--minutes"],
    [["--agents", "17"], "--agents must be a number from 1 to 16"],
    [["--sed", "1"], "--sed"],
    [["more"], "more"],
  ])("refuses %p with a reason", (args, message) => {
    const parsed = parseOptions(args, 7);
    expect(parsed.at === "usage_error" && parsed.message).toContain(message);
  });
});
