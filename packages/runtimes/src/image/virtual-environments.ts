/**
 * Checks the shared Python environments in FLEET_RUNTIME_ENVS_DIR. They were created elsewhere, so their interpreter and
 * compiled modules may not work in this image. (A9)
 */
import type { Candidate, CandidateContext } from "../probe/candidates.ts";
import { findIncompatibleModule } from "../inspect/extension-modules.ts";
import type { Installation, VirtualEnvironment } from "../image-report.ts";
import { inspectExecutable } from "../inspect/inspect-executable.ts";
import type { Interpreter } from "../probe/interpreters.ts";
import type { FileObserver } from "../inspect/file-observer.ts";
import { type ProbeContext, probeInterpreter, type Verdict } from "../probe/probe-interpreter.ts";
import { EvidenceLog } from "../inspect/evidence-log.ts";

/** Directories examined, in alphabetical order. */
const ENVIRONMENTS_MAX = 256;

const PROGRAMS: readonly string[] = ["bin/python3", "bin/python"];

export type EnvironmentContext = ProbeContext & CandidateContext;

/** A directory that contains an environment. */
interface EnvironmentDir {
  readonly name: string;
  readonly path: string;
  readonly kind: VirtualEnvironment["kind"];
  /** `home` in `pyvenv.cfg`: the directory of the interpreter that created it. */
  readonly home: string | undefined;
}

/** The environments (directories with a `pyvenv.cfg` or a `conda-meta`), sorted by name; empty when there is no such directory. */
export function findVirtualEnvironments(
  python: Interpreter | undefined,
  context: EnvironmentContext,
): Promise<VirtualEnvironment[]> {
  const { observer } = context;
  const envsDir = observer.variable("FLEET_RUNTIME_ENVS_DIR")?.replace(/\/+$/, "");
  if (python === undefined || envsDir === undefined || !envsDir.startsWith("/"))
    return Promise.resolve([]);
  // Most environments share an interpreter, which is run only once.
  const probes = new Map<string, Promise<Verdict>>();
  const probe = (candidate: Candidate): Promise<Verdict> => {
    const { realPath } = candidate.executable;
    const known = probes.get(realPath);
    if (known !== undefined) return known;
    const probing = probeInterpreter(python, candidate, new EvidenceLog(), context);
    probes.set(realPath, probing);
    return probing;
  };
  const environments = observer
    .list(envsDir)
    .slice(0, ENVIRONMENTS_MAX)
    .flatMap((name) => readEnvironmentDir(name, `${envsDir}/${name}`, observer) ?? []);
  return Promise.all(environments.map((one) => inspectEnvironment(one, context, probe)));
}

function readEnvironmentDir(
  name: string,
  path: string,
  observer: FileObserver,
): EnvironmentDir | undefined {
  const cfg = observer.readText(`${path}/pyvenv.cfg`);
  if (cfg !== undefined) {
    const home = /^home\s*=\s*(\S.*?)\s*$/m.exec(cfg)?.[1];
    return { name, path, kind: "venv", home };
  }
  const entry = observer.observe(`${path}/pyvenv.cfg`);
  if (entry.at === "present" || entry.at === "unknown")
    return { name, path, kind: "venv", home: undefined };
  if (observer.isDirectory(`${path}/conda-meta`))
    return { name, path, kind: "conda", home: undefined };
  return undefined;
}

async function inspectEnvironment(
  environment: EnvironmentDir,
  context: EnvironmentContext,
  probe: (candidate: Candidate) => Promise<Verdict>,
): Promise<VirtualEnvironment> {
  const { name, path, kind } = environment;
  const base = { name, path, kind, version: null, semver: null, reason: null, note: null } as const;
  const broken = (reason: string): VirtualEnvironment => ({
    ...base,
    verdict: "broken",
    interpreter: null,
    real_path: null,
    reason,
  });
  const found = findInterpreter(environment, context);
  if (typeof found === "string") return broken(found);
  const verdict = await probe(found);
  const program = found.executable.path.slice(path.length + 1);
  if (verdict.at === "fails") return broken(`its ${program} ${verdict.rejection.reason}`);
  const { installation } = verdict;
  const incompatibility = incompatibilityOf(environment, found, installation, context.observer);
  if (incompatibility !== undefined) return broken(incompatibility);
  return {
    ...base,
    verdict: "ok",
    interpreter: found.executable.path,
    real_path: found.executable.realPath,
    version: installation.version,
    semver: installation.semver,
    note: noteOf(environment, found, context.observer),
  };
}

/** The environment's interpreter, or the reason why it has none that can be run. */
function findInterpreter(
  { path, kind, home }: EnvironmentDir,
  { observer, hostArch }: EnvironmentContext,
): Candidate | string {
  const origin = home === undefined ? "" : ` (it was created by the python in ${home})`;
  if (kind === "venv" && observer.readText(`${path}/pyvenv.cfg`) === undefined)
    return "its pyvenv.cfg can't be read";
  for (const program of PROGRAMS) {
    const inspection = inspectExecutable(`${path}/${program}`, { observer, hostArch });
    if (inspection.at === "viable") {
      const { executable } = inspection;
      const { libc, arch } = executable;
      return { executable, libc, arch, via: null, note: null };
    }
    if (inspection.at === "rejected") {
      const { code, reason } = inspection.rejection;
      return `its ${program} ${reason}${code === "dangling_link" ? origin : ""}`;
    }
  }
  return kind === "conda"
    ? "is a conda environment without a python: it has no bin/python3 or bin/python"
    : `has no bin/python3 or bin/python${origin}`;
}

/** Why a working interpreter cannot use the environment: its packages are for another version, machine or C library. */
function incompatibilityOf(
  { path, home, kind }: EnvironmentDir,
  { executable, libc, arch }: Candidate,
  { version }: Installation,
  observer: FileObserver,
): string | undefined {
  const minorVersion = /^\d+\.\d+/.exec(version ?? "")?.[0];
  if (minorVersion === undefined) return undefined;
  const isCopy = executable.realPath.startsWith(`${path}/`);
  if (kind === "venv" && isCopy && home !== undefined && !observer.isDirectory(home))
    return `has a copy of the python in ${home} (home in pyvenv.cfg), but that directory and its library do not exist here`;
  const libs = observer
    .list(`${path}/lib`)
    .filter((dir) => /^(?:python|pypy)\d\.\d+t?$/.test(dir))
    .filter((dir) => observer.isDirectory(`${path}/lib/${dir}/site-packages`));
  const own = libs.find((dir) => dir.replace(/^\D+/, "").replace(/t$/, "") === minorVersion);
  if (libs.length > 0 && own === undefined) {
    const link = executable.realPath === executable.path ? "" : ` (${executable.realPath})`;
    return `was created for python ${libs[0]?.replace(/^\D+/, "")} (lib/${libs[0]}/site-packages), but its python is ${version} here${link}`;
  }
  if (own === undefined) return undefined;
  const module = findIncompatibleModule(
    `${path}/lib/${own}/site-packages`,
    { minorVersion, arch, libc },
    observer,
  );
  if (module === undefined) return undefined;
  return `has ${module.file.slice(path.length + 1)}, ${module.reason}`;
}

function noteOf(
  { home, kind }: EnvironmentDir,
  { executable }: Candidate,
  observer: FileObserver,
): string | null {
  if (kind !== "venv" || home === undefined || observer.isDirectory(home)) return null;
  return `was created by the python in ${home}, which does not exist here; it uses ${executable.realPath}`;
}
