/**
 * `bun run check [--fix]`: checks format, lint, types and unused code in parallel. Prints one line for each check, and the
 * output of those that fail. `--fix` first lets the linter and the formatter fix what they can.
 */
import { join } from "node:path";
import { capture } from "./lib/capture.ts";
import { ensureInstalled } from "./lib/install.ts";
import { root } from "./lib/root.ts";

interface Check {
  readonly name: string;
  /** A script in node_modules. Runs on this Bun, so that the machine's Node version does not matter. */
  readonly tool: string;
  readonly args: readonly string[];
}

interface Outcome {
  readonly ok: boolean;
  readonly ms: number;
  readonly output: string;
}

const OXFMT = "oxfmt/bin/oxfmt";
const OXLINT = "oxlint/bin/oxlint";

const checks: readonly Check[] = [
  { name: "format", tool: OXFMT, args: ["--check"] },
  { name: "lint", tool: OXLINT, args: ["--type-aware"] },
  { name: "types", tool: "typescript/bin/tsc", args: ["--pretty", "false"] },
  { name: "unused", tool: "knip/bin/knip.js", args: ["--no-progress"] },
];

const fixes: readonly Check[] = [
  { name: "fix lint", tool: OXLINT, args: ["--type-aware", "--fix"] },
  { name: "fix format", tool: OXFMT, args: [] },
];

async function run(check: Check): Promise<Outcome> {
  const startMs = performance.now();
  const command = [process.execPath, join(root, "node_modules", check.tool), ...check.args];
  const { code, output } = await capture(command);
  const ms = Math.round(performance.now() - startMs);
  return { ok: code === 0, ms, output: output.trim() };
}

await ensureInstalled();
// The formatter runs after the linter to format its changes. The checks below report what is left.
if (process.argv.includes("--fix")) for (const fix of fixes) await run(fix);

const outcomes = await Promise.all(checks.map(run));
let failed = 0;
for (const [i, { name }] of checks.entries()) {
  const { ok, ms, output } = outcomes[i]!;
  console.log(`${ok ? "ok    " : "FAILED"} ${name} (${ms} ms)`);
  if (ok) continue;
  failed++;
  console.log(`\n${output}\n`);
}
process.exit(failed === 0 ? 0 : 1);
