/** Explains the verdict on one runtime: the steps of its detection, in order, each with its result. Pure. (A7) */
import { canonicalRuntime, NATIVE, type RuntimeNames } from "../probe/canonical-runtime.ts";
import type { Evidence, ImageReport, InterpreterReport } from "../image-report.ts";
import { INTERPRETERS } from "../probe/interpreters.ts";
import { printable } from "../inspect/printable.ts";

/** LF-terminated lines of text; for an unknown name, one line with suggestions. */
export type Explanation =
  | { readonly at: "explained"; readonly name: string; readonly text: string }
  | { readonly at: "unknown"; readonly message: string };

/** Largest edit distance between a name and a suggestion. */
const EDITS_MAX = 2;

/** `name` may be an alias; `extra` are the interpreters of the config file. */
export function explain(
  report: ImageReport,
  name: string,
  extra: readonly RuntimeNames[] = [],
): Explanation {
  const canonical = canonicalRuntime(name, extra) ?? name.trim().toLowerCase();
  if (canonical === NATIVE)
    return {
      at: "explained",
      name: NATIVE,
      text: "native: a sensor that is an executable itself. It is never detected, only named in FLEET_AGENT_RUNTIMES or in the config's runtimes.\n",
    };
  const evidence = report.evidence[canonical];
  if (evidence === undefined) return { at: "unknown", message: unknownName(name, report, extra) };
  const found = report.interpreters.find((interpreter) => interpreter.name === canonical);
  const lines = [
    `${canonical}: ${found === undefined ? "not found in this image" : verdictOf(found)}`,
    ...(report.cached
      ? [`(detected ${new Date(report.looked_at_ms).toISOString()}; nothing has changed since)`]
      : []),
    "",
    ...evidence.map(step),
  ];
  return { at: "explained", name: canonical, text: `${lines.join("\n")}\n` };
}

function verdictOf(interpreter: InterpreterReport): string {
  if (interpreter.verdict === "broken") {
    const count = interpreter.rejected.length;
    return `does not work: ${count === 1 ? "the only candidate was" : `all ${count} candidates were`} rejected`;
  }
  const { name, path, version, implementation, via, also } = interpreter;
  const description = [implementation, version].filter((part) => part !== null).join(" ");
  const through = via === null ? "" : `, through ${via}`;
  const others = also.map((one) => `${one.version ?? "?"} at ${one.path}`).join(", ");
  return `works: ${description || name} at ${path}${through}${others === "" ? "" : `; also ${others}`}`;
}

function step({ check, path, found }: Evidence): string {
  return `  ${check.padEnd(8)}${path === null ? "" : `${printable(path, 200)}  `}${found}`;
}

function unknownName(name: string, report: ImageReport, extra: readonly RuntimeNames[]): string {
  const all = [...INTERPRETERS, ...extra].flatMap((one) => [one.name, ...(one.aliases ?? [])]);
  const key = name.trim().toLowerCase();
  const near = [...new Set(all)].filter(
    (known) =>
      edits(known, key) <= Math.min(EDITS_MAX, Math.floor(known.length / 2)) ||
      (key.length >= 2 && known.startsWith(key)),
  );
  const names = near.length > 0 ? near : Object.keys(report.evidence);
  const hint = near.length > 0 ? "did you mean" : "Fleet knows";
  return `no runtime is called "${printable(name, 64)}"; ${hint} ${names.join(", ")}`;
}

/** Levenshtein distance. */
function edits(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [i, letter] of a.split("").entries()) {
    const next = [i + 1];
    for (const [j, other] of b.split("").entries()) {
      const change = (row[j] ?? 0) + (letter === other ? 0 : 1);
      next.push(Math.min(change, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
