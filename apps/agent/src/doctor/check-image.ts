/** What the image offers: /proc, runtimes, virtual environments. (A4, A5, A9) */
import { stat } from "node:fs/promises";
import type { ImageReport, ResolvedRuntimes, VirtualEnvironment } from "@fleet/runtimes";
import type { Detection } from "../detection/detect.ts";
import type { Environment } from "../process/image-env.ts";
import { type Check, fail, ok, warn } from "./check.ts";

const ENVS_DIR = "FLEET_RUNTIME_ENVS_DIR";
const TIER_TEXT: Readonly<Record<ResolvedRuntimes["tier"], string>> = {
  override: "as FLEET_AGENT_RUNTIMES says",
  config: "as the config file says",
  detected: "as detected",
};

/** /proc tells the agent of its children, its limits and itself. Never rejects. */
export async function checkProc(): Promise<Check> {
  try {
    await stat("/proc/self/stat");
    return ok("proc", "/proc is there");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return fail("proc", `/proc/self can't be read: ${code}`, "Mount /proc in this root");
  }
}

/** What is offered to sensors, by which of the three tiers, and what was named in vain. */
export function checkRuntimes({ report, resolved }: Detection): Check[] {
  const { runtimes, tier, problems } = resolved;
  const offered = runtimes.map((name) => describeRuntime(name, report));
  const data = { tier, runtimes };
  const summary =
    runtimes.length === 0
      ? warn(
          "runtimes",
          `none offered to sensors, ${TIER_TEXT[tier]}`,
          "Programs that need no interpreter run with runtimes: [auto, native]",
          { data },
        )
      : ok("runtimes", `${offered.join(", ")} (${TIER_TEXT[tier]})`, { data });
  const broken = report.interpreters.flatMap((found) => {
    if (found.verdict === "ok" || !runtimes.includes(found.name)) return [];
    const why = found.rejected.map(({ path, reason }) => `${path} ${reason}`).join("; ");
    const remedy = `Mend it, or don't offer it; fleet-agent --detect-only --why ${found.name} tells more`;
    return [warn("runtimes", why, remedy, { subject: found.name })];
  });
  const mistakes = problems.map(({ name, message, severity }) =>
    severity === "error"
      ? fail("runtimes", message, "Correct the name", { subject: name })
      : warn("runtimes", message, "Correct it where it is named", { subject: name }),
  );
  return [summary, ...broken, ...mistakes];
}

/** One line for each environment of FLEET_RUNTIME_ENVS_DIR; nothing when that is unset and no sensor asks for one. */
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
        `${ENVS_DIR} is unset, but sensors ask for ${names}`,
        `Set it to the directory that holds them`,
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
        `${ENVS_DIR} holds none (no directory with a pyvenv.cfg)`,
        "Make one there, or unset it",
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

/** A broken environment is only wrong when a sensor asks for it. */
function describeEnvironment(found: VirtualEnvironment, isWanted: boolean): Check {
  const { name: subject, path, verdict, version, interpreter, reason, note } = found;
  const data = { path, wanted: isWanted };
  if (verdict === "broken") {
    const complain = isWanted ? fail : warn;
    return complain(
      "environment",
      reason ?? "can't be used here",
      `Make it anew with an interpreter of this image: python3 -m venv --clear ${path}`,
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
