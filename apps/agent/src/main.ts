/**
 * The `fleet-agent` command. It reads the command line and loads only what that asks for, because starting quickly matters:
 * `--version` reads no config, `--detect-only` makes no log, `install` does neither. (A2, A7, A8)
 */
import { writeSync } from "node:fs";
import { systemClock } from "@fleet/daemon/clock";
import { configPath, type RunFlags } from "./config/run-flags.ts";
import { type DetectFlags, parseCommandLine, usage } from "./cli/command-line.ts";
import { EXIT_CONFIG, EXIT_IN_USE, EXIT_USAGE } from "./cli/exit-codes.ts";
import { type Environment, takeImageEnvironment } from "./process/image-env.ts";
import { VERSION } from "@fleet/daemon/version";
import { versionReport } from "./process/version-report.ts";

const env = takeImageEnvironment(process.env);
const asked = parseCommandLine(process.argv.slice(2));
switch (asked.at) {
  case "usage_error":
    complain([asked.message, "try: fleet-agent --help"]);
    process.exit(EXIT_USAGE);
    break;
  case "help": {
    const text = await usage(asked.of);
    say(`${process.stdout.isTTY ? text : Bun.stripANSI(text)}\n`);
    break;
  }
  case "install":
    await (await import("./install/main.ts")).runInstall(asked.flags, systemClock);
    break;
  case "install_help": {
    const { installUsage } = await import("./cli/install-command-line.ts");
    const text = await installUsage();
    say(process.stdout.isTTY ? text : Bun.stripANSI(text));
    break;
  }
  case "version":
    say(`${asked.json ? JSON.stringify(versionReport()) : VERSION}\n`);
    break;
  case "detect_only":
    await detectOnly(asked.flags, asked.detect);
    break;
  case "doctor": {
    const { runDoctor } = await import("./doctor/main.ts");
    process.exit(
      await runDoctor({ flags: asked.flags, json: asked.json, env, clock: systemClock }),
    );
    break;
  }
  case "logs": {
    const { runLogs } = await import("./logs/run-logs.ts");
    const stateDir = asked.flags.stateDir ?? (env["FLEET_STATE_DIR"] || undefined);
    process.exit(await runLogs({ ...asked.logs, stateDir, clock: systemClock }));
    break;
  }
  case "run":
    await runAgent(asked.flags, env);
    break;
}

async function detectOnly(flags: RunFlags, { json, fresh, why }: DetectFlags): Promise<void> {
  const { explainDetection, formatDetection, startDetection } =
    await import("./detection/detect.ts");
  const detecting = startDetection(flags, env, systemClock, { fresh });
  const config =
    configPath(flags, env) === undefined
      ? { runtimes: undefined, interpreters: [] }
      : await orExit(async () =>
          (await import("./config/config.ts")).loadDetectionConfig(flags, env),
        );
  const detection = await detecting.finish(config);
  if (why === undefined) return say(formatDetection(detection, json));
  const explanation = explainDetection(detection, why);
  if (explanation.at === "unknown") {
    complain([`--why: ${explanation.message}`]);
    process.exit(EXIT_USAGE);
  }
  say(explanation.text);
}

async function runAgent(flags: RunFlags, image: Environment): Promise<void> {
  // Asks for the config to be read, which is yet to come.
  process.on("SIGHUP", () => {});
  const { startDetection } = await import("./detection/detect.ts");
  const detecting = startDetection(flags, image, systemClock);
  const { run } = await import("./run.ts");
  await orExit(() => run(flags, image, systemClock, detecting));
}

/** What can't be used ends the process with every problem on a line of its own; anything else is a bug and thrown on. */
async function orExit<T>(fn: () => Promise<T>): Promise<T> {
  try {
    return await fn();
  } catch (error) {
    const { ConfigError } = await import("@fleet/daemon/config-error");
    if (error instanceof ConfigError) {
      complain(error.problems);
      return process.exit(EXIT_CONFIG);
    }
    const { StateDirInUseError } = await import("./state/state-dir-lock.ts");
    if (!(error instanceof StateDirInUseError)) throw error;
    complain([error.message]);
    return process.exit(EXIT_IN_USE);
  }
}

function say(text: string): void {
  writeSync(1, text);
}

function complain(lines: readonly string[]): void {
  writeSync(2, lines.map((line) => `fleet-agent: ${line}\n`).join(""));
}
