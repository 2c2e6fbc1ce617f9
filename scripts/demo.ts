/**
 * `bun run demo`: installs, compiles, and runs a coordinator with four nodes on this machine until it is stopped. Imports no
 * third-party package, because none is installed yet on a fresh machine.
 */
import { parseOptions, USAGE } from "./demo/options.ts";
import { runDemo } from "./demo/run.ts";
import { flushOutput } from "./harness/output.ts";

const EXIT_USAGE = 64;

const parsed = parseOptions(process.argv.slice(2));
switch (parsed.at) {
  case "help":
    process.stdout.write(USAGE);
    break;
  case "usage_error":
    process.stderr.write(`demo: ${parsed.message}\n\n${USAGE}`);
    process.exitCode = EXIT_USAGE;
    break;
  case "run": {
    const exitCode = await runDemo(parsed.options);
    await flushOutput();
    process.exit(exitCode);
  }
}
