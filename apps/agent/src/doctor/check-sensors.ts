/** Checks that each sensor could be started: its runtime, working directory and program. Starts nothing. (A6, A9, A11) */
import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { isAbsolute, join, resolve } from "node:path";
import { NATIVE } from "@fleet/runtimes";
import type { SensorConfig } from "../config/sensor.ts";
import type { Detection } from "../detection/detect.ts";
import type { Environment } from "../process/image-env.ts";
import { planSensor, type SensorPlan } from "../sensors/sensor-plan.ts";
import { type Check, fail, ok, warn } from "./check.ts";

/** Matches a word that looks like the file of a program: a path, or a name with the extension of a program. */
const SCRIPT = /\/|\.(?:[cm]?js|ts|py|rb|pl|php|lua|sh|r|exs?|jar|java|go|dll)$/i;
const PATH_DEFAULT = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** One check per sensor, in the order of the file. Never rejects. */
export async function checkSensors(
  sensors: readonly SensorConfig[],
  detection: Detection,
  env: Environment,
): Promise<Check[]> {
  if (sensors.length === 0)
    return [
      warn(
        "sensor",
        "none configured: the agent registers but sends no frames",
        "Add sensors under sensors: in the config file",
      ),
    ];
  return Promise.all(sensors.map((sensor) => checkSensor(planSensor(sensor, detection), env)));
}

async function checkSensor(plan: SensorPlan, env: Environment): Promise<Check> {
  const { name: subject, runtime, requires = null, cwd, command } = plan.config;
  const details = { subject, data: { runtime, requires } };
  if (plan.at === "unavailable")
    return fail("sensor", plan.reason, capitalise(plan.remedy), details);
  const dir = resolve(cwd ?? ".");
  const dirProblem = await directoryProblem(dir);
  if (dirProblem !== undefined)
    return fail(
      "sensor",
      `its working directory ${dir} ${dirProblem}`,
      "Correct its cwd:, or create that directory",
      details,
    );
  const argv = plan.argv.join(" ");
  if (runtime === NATIVE) {
    const program = await findProgram(command[0]!, dir, { ...env, ...plan.config.env });
    if (program === undefined)
      return fail(
        "sensor",
        `its program ${command[0]} does not exist or is not executable`,
        "Install it, executable (chmod +x), or correct its command:",
        details,
      );
    return ok("sensor", `runs ${program}`, details);
  }
  const script = command.find((word) => !word.startsWith("-"));
  if (script !== undefined && SCRIPT.test(script)) {
    const path = isAbsolute(script) ? script : join(dir, script);
    const problem = await readProblem(path);
    if (problem !== undefined)
      return warn(
        "sensor",
        `${path} ${problem}`,
        `Install it, or correct its command: or cwd:`,
        details,
      );
  }
  return ok("sensor", `runs ${argv}`, details);
}

async function directoryProblem(dir: string): Promise<string | undefined> {
  try {
    if (!(await stat(dir)).isDirectory()) return "is not a directory";
    await access(dir, constants.X_OK);
    return undefined;
  } catch (error) {
    return accessProblem(error);
  }
}

async function readProblem(path: string): Promise<string | undefined> {
  try {
    await access(path, constants.R_OK);
    return undefined;
  } catch (error) {
    return accessProblem(error);
  }
}

function accessProblem(error: unknown): string {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOENT" ? "does not exist" : `can't be read: ${code}`;
}

/** Finds a program as the system does: relative to the working directory if the word has a slash, otherwise by PATH. */
async function findProgram(
  word: string,
  dir: string,
  env: Environment,
): Promise<string | undefined> {
  const paths = word.includes("/")
    ? [resolve(dir, word)]
    : (env["PATH"] || PATH_DEFAULT).split(":").map((entry) => join(resolve(dir, entry), word));
  for (const path of paths) {
    try {
      await access(path, constants.X_OK);
      if ((await stat(path)).isFile()) return path;
    } catch {
      // Another directory of PATH may have it.
    }
  }
  return undefined;
}

function capitalise(phrase: string): string {
  return phrase.slice(0, 1).toUpperCase() + phrase.slice(1);
}
