/** The `doctor` sub-command: report, progress and exit code around `examine`. Loaded by main.ts only when it is asked for. (A9) */
import { writeSync } from "node:fs";
import type { Clock, Timer } from "@fleet/daemon";
import type { RunFlags } from "../config/run-flags.ts";
import type { Environment } from "../process/image-env.ts";
import { examine } from "./doctor.ts";
import { formatJson, formatText, isHealthy } from "./format.ts";

/** What `fleet-agent doctor` was told. `env` is the image's environment as it was. */
export interface RunDoctorOptions {
  readonly flags: RunFlags;
  readonly json: boolean;
  readonly env: Environment;
  readonly clock: Clock;
}

/** Who waits for longer than this is told what for. */
const PATIENCE_MS = 1000;
const EXIT_WRONG = 1;
const CLEAR_LINE = "\r\u001B[K";

/** Prints the report; the exit code is 0 when nothing is wrong (warnings are allowed), else 1. */
export async function runDoctor({ json, ...options }: RunDoctorOptions): Promise<number> {
  const progress = process.stderr.isTTY ? new Progress(options.clock) : undefined;
  const checks = await examine({
    ...options,
    onWaiting: (parts) => progress?.waitFor(parts),
  });
  progress?.end();
  const isColoured = process.stdout.isTTY && !options.env["NO_COLOR"];
  const text = json ? formatJson(checks) : formatText(checks, isColoured);
  // Whoever reads it may not want the end of it.
  await Bun.write(Bun.stdout, text).catch(() => {});
  return isHealthy(checks) ? 0 : EXIT_WRONG;
}

/** A line on a terminal that names what is still being waited for, and is gone in the end. */
class Progress {
  readonly #timer: Timer;
  #parts: readonly string[] = [];
  #isShown = false;

  constructor(clock: Clock) {
    this.#timer = clock.after(PATIENCE_MS, () => {
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
