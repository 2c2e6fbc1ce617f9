/**
 * The `fleet-agent` command. It reads the command line and loads only what that asks for, because starting quickly matters:
 * `--version` reads no config, `--detect-only` makes no log. (A7, A8)
 */
import { writeSync } from "node:fs";
import { parseCommandLine, type RunFlags, usage } from "./command-line.ts";
import { EXIT_CONFIG, EXIT_USAGE } from "./exit-codes.ts";
import { type Environment, takeImageEnvironment } from "./image-env.ts";
import { VERSION, versionReport } from "./version.ts";

const env = takeImageEnvironment(process.env);
const asked = parseCommandLine(process.argv.slice(2));
switch (asked.at) {
  case "usage_error":
    complain([asked.message, "try: fleet-agent --help"]);
    process.exit(EXIT_USAGE);
    break;
  case "help": {
    const text = await usage();
    say(`${process.stdout.isTTY ? text : Bun.stripANSI(text)}\n`);
    break;
  }
  case "version":
    say(`${asked.json ? JSON.stringify(versionReport()) : VERSION}\n`);
    break;
  case "detect_only":
    await detectOnly(asked.flags, asked.json);
    break;
  case "run":
    await runAgent(asked.flags, env);
    break;
}

async function detectOnly(flags: RunFlags, json: boolean): Promise<void> {
  const [{ detect, formatDetection }, { systemClock }] = await Promise.all([
    import("./detect.ts"),
    import("@fleet/daemon"),
  ]);
  const isConfigured = flags.config !== undefined || (env["FLEET_AGENT_CONFIG"] ?? "") !== "";
  const file = isConfigured
    ? await orExit(async () => (await import("./config.ts")).loadDetectionConfig(flags, env))
    : { runtimes: undefined, interpreters: [] };
  const { runtimes, interpreters } = file;
  say(formatDetection(await detect({ env, clock: systemClock, runtimes, interpreters }), json));
}

async function runAgent(flags: RunFlags, image: Environment): Promise<void> {
  const { run } = await import("./run.ts");
  await orExit(() => run(flags, image));
}

/** Settings that can't be used end the process with every problem on a line of its own; anything else is a bug and thrown on. */
async function orExit<T>(fn: () => Promise<T>): Promise<T> {
  try {
    return await fn();
  } catch (error) {
    const { ConfigError } = await import("./config.ts");
    if (!(error instanceof ConfigError)) throw error;
    complain(error.problems);
    return process.exit(EXIT_CONFIG);
  }
}

function say(text: string): void {
  writeSync(1, text);
}

function complain(lines: readonly string[]): void {
  writeSync(2, lines.map((line) => `fleet-agent: ${line}\n`).join(""));
}
