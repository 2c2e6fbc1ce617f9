/** Formats the doctor's report: one line per check for people, or one JSON object for programs. Pure. (A9) */
import type { Check } from "./check.ts";

const MARKS = { ok: "ok  ", warn: "warn", fail: "FAIL" } as const;
const COLOURS = { ok: "\u001B[32m", warn: "\u001B[33m", fail: "\u001B[1;31m" } as const;
const PLAIN = "\u001B[0m";
const ID_WIDTH = 11;

/** Whether no check failed; warnings are allowed. */
export function isHealthy(checks: readonly Check[]): boolean {
  return checks.every(({ status }) => status !== "fail");
}

/** `{schema: 1, ok, checks}`. Fields may be added; `schema` rises if one changes or is removed. LF-terminated. */
export function formatJson(checks: readonly Check[]): string {
  return `${JSON.stringify({ schema: 1, ok: isHealthy(checks), checks }, null, 2)}\n`;
}

/** One line per check, then the totals. LF-terminated. It contains no terminal control characters but our own colours. */
export function formatText(checks: readonly Check[], coloured: boolean): string {
  const lines = checks.map((check) => {
    const mark = MARKS[check.status];
    const shown = coloured ? `${COLOURS[check.status]}${mark}${PLAIN}` : mark;
    return `${shown}  ${check.id.padEnd(ID_WIDTH)}  ${printable(sentence(check))}\n`;
  });
  return `${lines.join("")}${count(checks)}\n`;
}

function sentence({ subject, message, remedy }: Check): string {
  const found = subject === undefined ? message : `${subject}: ${message}`;
  return remedy === undefined ? found : `${found}. ${remedy}`;
}

function count(checks: readonly Check[]): string {
  const of = (status: Check["status"]): number => checks.filter((c) => c.status === status).length;
  const warnings = of("warn");
  return `${checks.length} ${checks.length === 1 ? "check" : "checks"}: ${of("ok")} ok, ${warnings} ${warnings === 1 ? "warning" : "warnings"}, ${of("fail")} failed`;
}

/** Names and answers are foreign text: characters that are not printable show as `?`. */
function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, "?");
}
