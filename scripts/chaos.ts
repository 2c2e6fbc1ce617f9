/**
 * `bun run chaos`: runs a fleet on this machine, breaks it at random, and checks that no frame is lost that must not be. The
 * seed fixes the schedule of faults; their effect depends on the machine's timing.
 */
import { parseOptions, USAGE } from "./chaos/options.ts";
import { flushOutput } from "./harness/output.ts";
import { ensureInstalled } from "./lib/install.ts";

const EXIT_USAGE = 64;
const SEEDS = 2 ** 32;

const parsed = parseOptions(process.argv.slice(2), Math.floor(Math.random() * SEEDS));
switch (parsed.at) {
  case "help":
    process.stdout.write(USAGE);
    break;
  case "usage_error":
    process.stderr.write(`chaos: ${parsed.message}\n\n${USAGE}`);
    process.exitCode = EXIT_USAGE;
    break;
  case "run": {
    await ensureInstalled();
    // Loads third-party packages, which a fresh clone does not have until now.
    const { runChaos } = await import("./chaos/run.ts");
    const exitCode = await runChaos(parsed.options);
    await flushOutput();
    process.exit(exitCode);
  }
}
