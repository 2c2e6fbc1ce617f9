/** The `doctor` subcommand: report, progress and exit code around `examine`. main.ts loads it on demand. (A9) */
import { writeSync } from "node:fs";
import type { Clock, Timer } from "@fleet/daemon";
import type { RunFlags } from "../config/run-flags.ts";
import type { Environment } from "../process/image-env.ts";
import { examine } from "./doctor.ts";
import { formatJson, formatText, isHealthy } from "./format.ts";

/** The options of `fleet-agent doctor`. `env` is the image's original environment. */
export interface RunDoctorOptions {
  readonly flags: RunFlags;
  readonly json: boolean;
  readonly env: Environment;
  readonly clock: Clock;
}

/** Progress is shown after this time. */
const PROGRESS_AFTER_MS = 1000;
const EXIT_PROBLEM = 1;
const CLEAR_LINE = "\r\u001B[K";

/** Prints the report. Returns exit code 1 if a check failed, else 0. */
export async function runDoctor({ json, ...options }: RunDoctorOptions): Promise<number> {
  const progress = process.stderr.isTTY ? new Progress(options.clock) : undefined;
  const checks = await examine({
    ...options,
    onWaiting: (parts) => progress?.waitFor(parts),
  });
  progress?.end();
  const isColoured = process.stdout.isTTY && !options.env["NO_COLOR"];
  const text = json ? formatJson(checks) : formatText(checks, isColoured);
  // The reader may close the pipe before the end.
  await Bun.write(Bun.stdout, text).catch(() => {});
  return isHealthy(checks) ? 0 : EXIT_PROBLEM;
}

/** A line on the terminal that names the unfinished parts, and is cleared at the end. */
class Progress {
  readonly #timer: Timer;
  #parts: readonly string[] = [];
  #isShown = false;

  constructor(clock: Clock) {
    this.#timer = clock.after(PROGRESS_AFTER_MS, () => {
      this.#isShown = true;
      this.waitFor(this.#parts);
    });
  }

  waitFor(parts: readonly string[]): void {
    this.#parts = parts;
    if (this.#isShown) writeSync(2, `${CLEAR_LINE}waiting for: ${parts.join(", ")}`);
  }

  end(): void {
    this.#timer.cancel();
    if (this.#isShown) writeSync(2, CLEAR_LINE);
  }
}
