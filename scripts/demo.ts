/**
 * `bun run demo`: installs, compiles, and runs a coordinator with four nodes on this machine until it is stopped. On a fresh
 * machine nothing is installed when this loads, so nothing here imports a package of others.
 */
import { parseOptions, USAGE } from "./demo/options.ts";
import { runDemo } from "./demo/run.ts";
import { flushOutput } from "./harness/output.ts";

const EXIT_USAGE = 64;

const asked = parseOptions(process.argv.slice(2));
switch (asked.at) {
  case "help":
    process.stdout.write(USAGE);
    break;
  case "usage_error":
    process.stderr.write(`demo: ${asked.message}\n\n${USAGE}`);
    process.exitCode = EXIT_USAGE;
    break;
  case "run": {
    const exitCode = await runDemo(asked.options);
    await flushOutput();
    process.exit(exitCode);
  }
}
