/** Whether each sensor could be started here: its runtime, working directory and program. Nothing is started. (A6, A9, A11) */
import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { isAbsolute, join, resolve } from "node:path";
import { NATIVE } from "@fleet/runtimes";
import type { SensorConfig } from "../config/sensor.ts";
import type { Detection } from "../detection/detect.ts";
import type { Environment } from "../process/image-env.ts";
import { planSensor, type SensorPlan } from "../sensors/sensor-plan.ts";
import { type Check, fail, ok, warn } from "./check.ts";

/** A word that names a file of a program, by its form: a path, or a name with an ending that programs have. */
const SCRIPT = /\/|\.(?:[cm]?js|ts|py|rb|pl|php|lua|sh|r|exs?|jar|java|go|dll)$/i;
const PATH_DEFAULT = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** One line for each sensor, in the order of the file. Never rejects. */
export async function checkSensors(
  sensors: readonly SensorConfig[],
  detection: Detection,
  env: Environment,
): Promise<Check[]> {
  if (sensors.length === 0)
    return [
      warn(
        "sensor",
        "none configured: the agent registers, and sends nothing",
        "Name some under sensors: in the config file",
      ),
    ];
  return Promise.all(sensors.map((sensor) => checkSensor(planSensor(sensor, detection), env)));
}

async function checkSensor(plan: SensorPlan, env: Environment): Promise<Check> {
  const { name: subject, runtime, requires = null, cwd, command } = plan.config;
  const details = { subject, data: { runtime, requires } };
  if (plan.at === "unavailable")
    return fail("sensor", plan.reason, capitalised(plan.remedy), details);
  const dir = resolve(cwd ?? ".");
  const dirProblem = await directoryProblem(dir);
  if (dirProblem !== undefined)
    return fail(
      "sensor",
      `its working directory ${dir} ${dirProblem}`,
      "Correct its cwd:, or make that directory",
      details,
    );
  const argv = plan.argv.join(" ");
  if (runtime === NATIVE) {
    const program = await findProgram(command[0]!, dir, { ...env, ...plan.config.env });
    if (program === undefined)
      return fail(
        "sensor",
        `its program ${command[0]} is not there, or can't be run`,
        "Put it there, executable (chmod +x), or correct its command:",
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
        `Put it there, or correct its command: or cwd:`,
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
    return absence(error);
  }
}

async function readProblem(path: string): Promise<string | undefined> {
  try {
    await access(path, constants.R_OK);
    return undefined;
  } catch (error) {
    return absence(error);
  }
}

function absence(error: unknown): string {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOENT" ? "is not there" : `can't be read: ${code}`;
}

/** As the system finds it: a word with a slash from the working directory, any other by PATH. */
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
      // The next one may do.
    }
  }
  return undefined;
}

function capitalised(phrase: string): string {
  return phrase.slice(0, 1).toUpperCase() + phrase.slice(1);
}
