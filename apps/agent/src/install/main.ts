/** The `install` subcommand: signals, output and exit code around `install`. main.ts loads it on demand. (A2) */
import { writeSync } from "node:fs";
import { constants } from "node:os";
import type { Clock } from "@fleet/daemon/clock";
import { VERSION } from "@fleet/daemon/version";
import { versionReport } from "../process/version-report.ts";
import { InstallError } from "./failure.ts";
import { install, type Installed } from "./install.ts";

const STOP_SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
const SHA256_CHARS_SHOWN = 12;

/** The arguments of `install`. `mode` is that of the installed file. */
export interface InstallFlags {
  readonly dir: string;
  readonly mode: number;
  readonly json: boolean;
}

/** Installs and prints one line, or prints the failure; then ends the process with the matching exit code. */
export async function runInstall(flags: InstallFlags, clock: Clock): Promise<void> {
  // The exit removes the staged file. As PID 1 no signal has a default action.
  for (const signal of STOP_SIGNALS)
    process.once(signal, () => process.exit(128 + constants.signals[signal]));
  const { dir, mode, json } = flags;
  try {
    const expected = JSON.stringify(versionReport());
    writeSync(1, describe(await install({ dir, mode, expected, clock }), mode, json));
    process.exit(0);
  } catch (error) {
    if (!(error instanceof InstallError)) throw error;
    writeSync(2, `fleet-agent: ${error.message}\n`);
    process.exit(error.exitCode);
  }
}

function describe({ at, path, bytes, sha256 }: Installed, mode: number, json: boolean): string {
  if (json) {
    const modeText = mode.toString(8).padStart(4, "0");
    return `${JSON.stringify({ status: at, path, version: VERSION, bytes, sha256, mode: modeText })}\n`;
  }
  const size = `${(bytes / 1024 ** 2).toFixed(1)} MiB`;
  const short = sha256.slice(0, SHA256_CHARS_SHOWN);
  return `${at === "installed" ? "installed" : "already installed"} ${path}: version ${VERSION}, ${size}, sha256 ${short}\n`;
}
