/** `bun run demo`: installs, compiles, and runs a coordinator with four nodes on this machine until it is stopped. */
import { parseOptions, USAGE } from "./demo/options.ts";
import { flushOutput, step } from "./harness/output.ts";
import { ensureInstalled } from "./lib/install.ts";

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
    await step("Installing dependencies", ensureInstalled);
    // Loads third-party packages, which a fresh clone does not have until now.
    const { runDemo } = await import("./demo/run.ts");
    const exitCode = await runDemo(parsed.options);
    await flushOutput();
    process.exit(exitCode);
  }
}
