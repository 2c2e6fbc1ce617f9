import { describe, expect, test } from "bun:test";
import { type Check, fail, ok, warn } from "./check.ts";
import { formatJson, formatText, isHealthy } from "./format.ts";

const CHECKS: readonly Check[] = [
  ok("proc", "/proc is mounted"),
  warn("state_dir", "is on tmpfs", "Mount a volume", { subject: "/state" }),
  fail("coordinator", "refuses", "Start it", { subject: "http://c:7700", data: { code: "X" } }),
];

describe("the report (A9)", () => {
  test("has a line for each check, with the remedy, and the totals", () => {
    expect(formatText(CHECKS, false)).toBe(
      [
        "ok    proc         /proc is mounted",
        "warn  state_dir    /state: is on tmpfs. Mount a volume",
        "FAIL  coordinator  http://c:7700: refuses. Start it",
        "3 checks: 1 ok, 1 warning, 1 failed",
        "",
      ].join("\n"),
    );
  });

  test("has colours only when asked for, on the marks alone", () => {
    const coloured = formatText(CHECKS, true);
    expect(coloured).not.toBe(formatText(CHECKS, false));
    expect(Bun.stripANSI(coloured)).toBe(formatText(CHECKS, false));
  });

  test("keeps each check on one line, without control characters from the findings", () => {
    const text = formatText([ok("sensor", "a\nb\u001B[31mc\u202Ed\u2028e\r")], false);
    expect(text).toBe("ok    sensor       a?b?[31mc?d?e?\n1 check: 1 ok, 0 warnings, 0 failed\n");
  });

  test("as JSON has a schema, a verdict, and the checks as they are", () => {
    expect(JSON.parse(formatJson(CHECKS))).toEqual({
      schema: 1,
      ok: false,
      checks: [
        { id: "proc", status: "ok", message: "/proc is mounted" },
        {
          id: "state_dir",
          status: "warn",
          subject: "/state",
          message: "is on tmpfs",
          remedy: "Mount a volume",
        },
        {
          id: "coordinator",
          status: "fail",
          subject: "http://c:7700",
          message: "refuses",
          data: { code: "X" },
          remedy: "Start it",
        },
      ],
    });
  });

  test("is good while nothing fails; warnings are allowed", () => {
    expect(isHealthy(CHECKS)).toBe(false);
    expect(isHealthy(CHECKS.slice(0, 2))).toBe(true);
  });
});
