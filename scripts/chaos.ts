/**
 * `bun run chaos`: runs a fleet on this machine, breaks it at random, and checks that nothing was lost that should not have
 * been. The seed decides what is done; with which effect, the machine.
 */
import { parseOptions, USAGE } from "./chaos/options.ts";
import { runChaos } from "./chaos/run.ts";
import { flushOutput } from "./harness/output.ts";

const EXIT_USAGE = 64;
const SEEDS = 2 ** 32;

const asked = parseOptions(process.argv.slice(2), Math.floor(Math.random() * SEEDS));
switch (asked.at) {
  case "help":
    process.stdout.write(USAGE);
    break;
  case "usage_error":
    process.stderr.write(`chaos: ${asked.message}\n\n${USAGE}`);
    process.exitCode = EXIT_USAGE;
    break;
  case "run": {
    const exitCode = await runChaos(asked.options);
    await flushOutput();
    process.exit(exitCode);
  }
}
