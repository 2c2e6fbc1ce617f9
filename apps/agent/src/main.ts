/**
 * The `fleet-agent` command. It parses the command line and loads only the modules of the requested command, so that it starts
 * quickly: `--version` reads no config, `--detect-only` creates no log, `install` does neither. (A2, A7, A8)
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
const command = parseCommandLine(process.argv.slice(2));
switch (command.at) {
  case "usage_error":
    printProblems([command.message, "try: fleet-agent --help"]);
    process.exit(EXIT_USAGE);
    break;
  case "help": {
    const text = await usage(command.of);
    print(`${process.stdout.isTTY ? text : Bun.stripANSI(text)}\n`);
    break;
  }
  case "install":
    await (await import("./install/main.ts")).runInstall(command.flags, systemClock);
    break;
  case "install_help": {
    const { installUsage } = await import("./cli/install-command-line.ts");
    const text = await installUsage();
    print(process.stdout.isTTY ? text : Bun.stripANSI(text));
    break;
  }
  case "version":
    print(`${command.json ? JSON.stringify(versionReport()) : VERSION}\n`);
    break;
  case "detect_only":
    await detectOnly(command.flags, command.detect);
    break;
  case "doctor": {
    const { runDoctor } = await import("./doctor/main.ts");
    process.exit(
      await runDoctor({ flags: command.flags, json: command.json, env, clock: systemClock }),
    );
    break;
  }
  case "logs": {
    const { runLogs } = await import("./logs/run-logs.ts");
    const stateDir = command.flags.stateDir ?? (env["FLEET_STATE_DIR"] || undefined);
    process.exit(await runLogs({ ...command.logs, stateDir, clock: systemClock }));
    break;
  }
  case "run":
    await runAgent(command.flags, env);
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
  if (why === undefined) return print(formatDetection(detection, json));
  const explanation = explainDetection(detection, why);
  if (explanation.at === "unknown") {
    printProblems([`--why: ${explanation.message}`]);
    process.exit(EXIT_USAGE);
  }
  print(explanation.text);
}

async function runAgent(flags: RunFlags, image: Environment): Promise<void> {
  // A SIGHUP requests a reload of the config, which has not been read yet.
  process.on("SIGHUP", () => {});
  const { startDetection } = await import("./detection/detect.ts");
  const detecting = startDetection(flags, image, systemClock);
  const { run } = await import("./run.ts");
  await orExit(() => run(flags, image, systemClock, detecting));
}

/** Turns configuration errors into exit codes, with one line per problem; any other error is a bug and is rethrown. */
async function orExit<T>(fn: () => Promise<T>): Promise<T> {
  try {
    return await fn();
  } catch (error) {
    const { ConfigError } = await import("@fleet/daemon/config-error");
    if (error instanceof ConfigError) {
      printProblems(error.problems);
      return process.exit(EXIT_CONFIG);
    }
    const { StateDirInUseError } = await import("./state/state-dir-lock.ts");
    if (!(error instanceof StateDirInUseError)) throw error;
    printProblems([error.message]);
    return process.exit(EXIT_IN_USE);
  }
}

function print(text: string): void {
  writeSync(1, text);
}

function printProblems(lines: readonly string[]): void {
  writeSync(2, lines.map((line) => `fleet-agent: ${line}\n`).join(""));
}
