/**
 * `bun run test [PATH…]`: installs, builds the binaries for end-to-end tests, and runs the tests. Its last line is
 * `N passed, M failed`. A crash or a run without any test counts as failed.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ARCHES, BuildError, buildBinaries, thisArch } from "./lib/build-binaries.ts";
import { ensureInstalled } from "./lib/install.ts";
import { root } from "./lib/root.ts";
import { countTests } from "./lib/test-report.ts";

/** Generous, because end-to-end tests start several processes on machines that may be busy. */
const TEST_TIMEOUT_MS = 60_000;

const args = process.argv.slice(2);
const paths = args.some((arg) => !arg.startsWith("-"))
  ? []
  : ["packages", "apps", "docker", "scripts"];

await ensureInstalled();
try {
  await buildBinaries();
  for (const arch of ARCHES) {
    if (canRun(arch)) await buildBinaries(["fleet-agent"], { arch });
  }
} catch (error) {
  if (!(error instanceof BuildError)) throw error;
  finish(0, 1, error.message);
}

const dir = mkdtempSync(join(tmpdir(), "fleet-test-"));
const report = join(dir, "junit.xml");
const child = Bun.spawn(
  [
    process.execPath,
    "test",
    `--timeout=${TEST_TIMEOUT_MS}`,
    "--reporter=junit",
    `--reporter-outfile=${report}`,
    ...paths,
    ...args,
  ],
  { cwd: root, stdin: "ignore", stdout: "inherit", stderr: "inherit" },
);
// Ctrl-C also reaches the tests, which share our terminal. Wait until they have cleaned up.
process.on("SIGINT", () => {});
process.on("SIGTERM", () => child.kill("SIGTERM"));
const code = await child.exited;
const counts = countTests(existsSync(report) ? readFileSync(report, "utf8") : "");
rmSync(dir, { recursive: true, force: true });
if (counts.passed + counts.failed === 0) finish(0, 1, `no test ran (exit ${code})`);
if (code !== 0 && counts.failed === 0) finish(counts.passed, 1, `bun test ended with exit ${code}`);
finish(counts.passed, counts.failed);

/** Whether the agent for another processor can be built here and run under emulation, as apps/agent/test/roots does. */
function canRun(arch: string): boolean {
  if (arch === thisArch) return false;
  return [`${arch}-linux-gnu-gcc`, `qemu-${arch}-static`].every((tool) => Bun.which(tool) !== null);
}

function finish(passed: number, failed: number, problem?: string): never {
  if (problem !== undefined) console.error(problem);
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed === 0 ? 0 : 1);
}
