/** The shared virtual environments of FLEET_RUNTIME_ENVS_DIR: made elsewhere, usable here only when their interpreter resolves here. (A9) */
import { readdirSync } from "node:fs";
import { readSmallText } from "./image-facts.ts";
import type { VirtualEnvironment } from "./image-report.ts";
import { inspectExecutable } from "./inspect-executable.ts";

/** Directories beyond these, in order of name, are not looked at. */
const ENVIRONMENTS_MAX = 256;

/** Python's environments (those with a `pyvenv.cfg`) in order of name; none when the directory is unset or can't be read. Nothing is run. */
export function findVirtualEnvironments(
  envsDir: string | undefined,
  hostArch: string,
): VirtualEnvironment[] {
  if (envsDir === undefined || !envsDir.startsWith("/")) return [];
  return namesIn(envsDir)
    .map((name) => inspectEnvironment(name, `${envsDir.replace(/\/+$/, "")}/${name}`, hostArch))
    .filter((environment) => environment !== undefined);
}

function inspectEnvironment(
  name: string,
  path: string,
  hostArch: string,
): VirtualEnvironment | undefined {
  if (readSmallText(`${path}/pyvenv.cfg`) === undefined) return undefined;
  const broken = (reason: string): VirtualEnvironment => ({
    name,
    path,
    verdict: "broken",
    kind: "venv",
    interpreter: null,
    real_path: null,
    version: null,
    semver: null,
    reason,
    note: null,
  });
  let reason = "has no bin/python3 or bin/python";
  for (const program of ["bin/python3", "bin/python"]) {
    const inspection = inspectExecutable(`${path}/${program}`, hostArch);
    if (inspection.at === "viable") {
      const { executable } = inspection;
      return {
        name,
        path,
        verdict: "ok",
        kind: "venv",
        interpreter: executable.path,
        real_path: executable.realPath,
        version: null,
        semver: null,
        reason: null,
        note: null,
      };
    }
    if (inspection.at === "rejected") {
      reason = `its ${program} ${inspection.rejection.reason}`;
      break;
    }
  }
  return broken(reason);
}

function namesIn(dir: string): string[] {
  try {
    return readdirSync(dir).toSorted().slice(0, ENVIRONMENTS_MAX);
  } catch {
    return [];
  }
}
