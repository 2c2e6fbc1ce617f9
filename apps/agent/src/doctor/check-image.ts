/** Checks what the image provides: /proc, runtimes and virtual environments. (A4, A5, A9) */
import { stat } from "node:fs/promises";
import type { ImageReport, ResolvedRuntimes, VirtualEnvironment } from "@fleet/runtimes";
import type { Detection } from "../detection/detect.ts";
import type { Environment } from "../process/image-env.ts";
import { type Check, fail, ok, warn } from "./check.ts";

const ENVS_DIR = "FLEET_RUNTIME_ENVS_DIR";
const TIER_TEXT: Readonly<Record<ResolvedRuntimes["tier"], string>> = {
  override: "by FLEET_AGENT_RUNTIMES",
  config: "by the config file",
  detected: "detected",
};

/** The agent reads its processes and limits from /proc. Never rejects. */
export async function checkProc(): Promise<Check> {
  try {
    await stat("/proc/self/stat");
    return ok("proc", "/proc is mounted");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return fail("proc", `/proc/self can't be read: ${code}`, "Mount /proc in this root");
  }
}

/** The runtimes for sensors, the tier that chose them, and names that could not be resolved. */
export function checkRuntimes({ report, resolved }: Detection): Check[] {
  const { runtimes, tier, problems } = resolved;
  const offered = runtimes.map((name) => describeRuntime(name, report));
  const data = { tier, runtimes };
  const summary =
    runtimes.length === 0
      ? warn(
          "runtimes",
          `none for sensors (${TIER_TEXT[tier]})`,
          "For programs that need no interpreter, set runtimes: [auto, native]",
          { data },
        )
      : ok("runtimes", `${offered.join(", ")} (${TIER_TEXT[tier]})`, { data });
  const broken = report.interpreters.flatMap((found) => {
    if (found.verdict === "ok" || !runtimes.includes(found.name)) return [];
    const why = found.rejected.map(({ path, reason }) => `${path} ${reason}`).join("; ");
    const remedy = `Repair it, or disable it; fleet-agent --detect-only --why ${found.name} explains more`;
    return [warn("runtimes", why, remedy, { subject: found.name })];
  });
  const mistakes = problems.map(({ name, message, severity }) =>
    severity === "error"
      ? fail("runtimes", message, "Correct the name", { subject: name })
      : warn("runtimes", message, "Correct it in the setting that names it", { subject: name }),
  );
  return [summary, ...broken, ...mistakes];
}

/** One check per environment of FLEET_RUNTIME_ENVS_DIR. No check if that is not set and no sensor needs one. */
export async function checkEnvironments(
  { report }: Detection,
  env: Environment,
  wanted: ReadonlySet<string>,
): Promise<Check[]> {
  const dir = env[ENVS_DIR] ?? "";
  if (dir === "") {
    if (wanted.size === 0) return [];
    const names = [...wanted].join(", ");
    return [
      fail(
        "environment",
        `${ENVS_DIR} is not set, but sensors need ${names}`,
        `Set it to the directory that contains them`,
      ),
    ];
  }
  const problem = await dirProblem(dir);
  if (problem !== undefined)
    return [
      warn("environment", problem, `Mount the environments there, or correct ${ENVS_DIR}`, {
        subject: dir,
      }),
    ];
  if (report.environments.length === 0)
    return [
      warn(
        "environment",
        `${ENVS_DIR} contains none (no directory with a pyvenv.cfg)`,
        "Create one there, or unset it",
        { subject: dir },
      ),
    ];
  return report.environments.map((one) => describeEnvironment(one, wanted.has(one.name)));
}

async function dirProblem(dir: string): Promise<string | undefined> {
  if (!dir.startsWith("/")) return `${ENVS_DIR} is not an absolute path`;
  try {
    return (await stat(dir)).isDirectory() ? undefined : `${ENVS_DIR} is not a directory`;
  } catch (error) {
    return `${ENVS_DIR} can't be read: ${(error as NodeJS.ErrnoException).code}`;
  }
}

/** A broken environment is a failure only if a sensor needs it. */
function describeEnvironment(found: VirtualEnvironment, isWanted: boolean): Check {
  const { name: subject, path, verdict, version, interpreter, reason, note } = found;
  const data = { path, wanted: isWanted };
  if (verdict === "broken") {
    const complain = isWanted ? fail : warn;
    return complain(
      "environment",
      reason ?? "can't be used here",
      `Create it again with an interpreter of this image: python3 -m venv --clear ${path}`,
      { subject, data },
    );
  }
  const python = `python ${version ?? "of unknown version"} at ${interpreter}`;
  return ok("environment", note === null ? python : `${python}; ${note}`, { subject, data });
}

function describeRuntime(name: string, report: ImageReport): string {
  const found = report.interpreters.find((one) => one.name === name);
  return found?.verdict === "ok" && found.version !== null ? `${name} ${found.version}` : name;
}
