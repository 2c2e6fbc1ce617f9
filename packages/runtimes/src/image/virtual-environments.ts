/** The shared virtual environments of FLEET_RUNTIME_ENVS_DIR: made elsewhere, usable here only when their interpreter and what is in them fits here. (A9) */
import type { Candidate, CandidateContext } from "../probe/candidates.ts";
import { unfitExtension } from "../inspect/extension-modules.ts";
import type { Installation, VirtualEnvironment } from "../image-report.ts";
import { inspectExecutable } from "../inspect/inspect-executable.ts";
import type { Interpreter } from "../probe/interpreters.ts";
import type { FileObserver } from "../inspect/file-observer.ts";
import { type ProbeContext, probeInterpreter, type Verdict } from "../probe/probe-interpreter.ts";
import { EvidenceLog } from "../inspect/evidence-log.ts";

/** Directories beyond these, in order of name, are not looked at. */
const ENVIRONMENTS_MAX = 256;

const PROGRAMS: readonly string[] = ["bin/python3", "bin/python"];

export type EnvironmentContext = ProbeContext & CandidateContext;

/** A directory that is an environment, and what its making has left in it. */
interface Made {
  readonly name: string;
  readonly path: string;
  readonly kind: VirtualEnvironment["kind"];
  /** `home` of `pyvenv.cfg`: where the interpreter it was made with lay. */
  readonly home: string | undefined;
}

/** Python's environments (those with a `pyvenv.cfg` or a `conda-meta`) in order of name; none when the directory is unset or can't be read. */
export function findVirtualEnvironments(
  python: Interpreter | undefined,
  context: EnvironmentContext,
): Promise<VirtualEnvironment[]> {
  const { observer } = context;
  const envsDir = observer.variable("FLEET_RUNTIME_ENVS_DIR")?.replace(/\/+$/, "");
  if (python === undefined || envsDir === undefined || !envsDir.startsWith("/"))
    return Promise.resolve([]);
  // Environments mostly share an interpreter; it is run once.
  const probes = new Map<string, Promise<Verdict>>();
  const probe = (candidate: Candidate): Promise<Verdict> => {
    const { realPath } = candidate.executable;
    const known = probes.get(realPath);
    if (known !== undefined) return known;
    const probing = probeInterpreter(python, candidate, new EvidenceLog(), context);
    probes.set(realPath, probing);
    return probing;
  };
  const made = observer
    .list(envsDir)
    .slice(0, ENVIRONMENTS_MAX)
    .flatMap((name) => madeIn(name, `${envsDir}/${name}`, observer) ?? []);
  return Promise.all(made.map((one) => inspectEnvironment(one, context, probe)));
}

function madeIn(name: string, path: string, observer: FileObserver): Made | undefined {
  const cfg = observer.text(`${path}/pyvenv.cfg`);
  if (cfg !== undefined) {
    const home = /^home\s*=\s*(\S.*?)\s*$/m.exec(cfg)?.[1];
    return { name, path, kind: "venv", home };
  }
  const look = observer.at(`${path}/pyvenv.cfg`);
  if (look.at === "there" || look.at === "unknown")
    return { name, path, kind: "venv", home: undefined };
  if (observer.isDirectory(`${path}/conda-meta`))
    return { name, path, kind: "conda", home: undefined };
  return undefined;
}

async function inspectEnvironment(
  made: Made,
  context: EnvironmentContext,
  probe: (candidate: Candidate) => Promise<Verdict>,
): Promise<VirtualEnvironment> {
  const { name, path, kind } = made;
  const base = { name, path, kind, version: null, semver: null, reason: null, note: null } as const;
  const broken = (reason: string): VirtualEnvironment => ({
    ...base,
    verdict: "broken",
    interpreter: null,
    real_path: null,
    reason,
  });
  const found = findInterpreter(made, context);
  if (typeof found === "string") return broken(found);
  const verdict = await probe(found);
  const program = found.executable.path.slice(path.length + 1);
  if (verdict.at === "fails") return broken(`its ${program} ${verdict.rejection.reason}`);
  const { installation } = verdict;
  const misfit = misfitOf(made, found, installation, context.observer);
  if (misfit !== undefined) return broken(misfit);
  return {
    ...base,
    verdict: "ok",
    interpreter: found.executable.path,
    real_path: found.executable.realPath,
    version: installation.version,
    semver: installation.semver,
    note: noteOf(made, found, context.observer),
  };
}

/** The environment's program, or why there is none to run. */
function findInterpreter(
  { path, kind, home }: Made,
  { observer, hostArch }: EnvironmentContext,
): Candidate | string {
  const madeWith = home === undefined ? "" : ` (it was made with the python of ${home})`;
  if (kind === "venv" && observer.text(`${path}/pyvenv.cfg`) === undefined)
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
      return `its ${program} ${reason}${code === "dangling_link" ? madeWith : ""}`;
    }
  }
  return kind === "conda"
    ? "is a conda environment without a python: it has no bin/python3 or bin/python"
    : `has no bin/python3 or bin/python${madeWith}`;
}

/** What its interpreter runs but cannot work with: packages for another version, machine or C library. */
function misfitOf(
  { path, home, kind }: Made,
  { executable, libc, arch }: Candidate,
  { version }: Installation,
  observer: FileObserver,
): string | undefined {
  const short = /^\d+\.\d+/.exec(version ?? "")?.[0];
  if (short === undefined) return undefined;
  const isCopy = executable.realPath.startsWith(`${path}/`);
  if (kind === "venv" && isCopy && home !== undefined && !observer.isDirectory(home))
    return `has a copy of the python of ${home} (home in pyvenv.cfg), which is not here with its library`;
  const libs = observer
    .list(`${path}/lib`)
    .filter((dir) => /^(?:python|pypy)\d\.\d+t?$/.test(dir))
    .filter((dir) => observer.isDirectory(`${path}/lib/${dir}/site-packages`));
  const own = libs.find((dir) => dir.replace(/^\D+/, "").replace(/t$/, "") === short);
  if (libs.length > 0 && own === undefined) {
    const link = executable.realPath === executable.path ? "" : ` (${executable.realPath})`;
    return `was made for python ${libs[0]?.replace(/^\D+/, "")} (lib/${libs[0]}/site-packages), but its python is ${version} here${link}`;
  }
  if (own === undefined) return undefined;
  const unfit = unfitExtension(`${path}/lib/${own}/site-packages`, { short, arch, libc }, observer);
  if (unfit === undefined) return undefined;
  return `has ${unfit.file.slice(path.length + 1)}, ${unfit.reason}`;
}

function noteOf(
  { home, kind }: Made,
  { executable }: Candidate,
  observer: FileObserver,
): string | null {
  if (kind !== "venv" || home === undefined || observer.isDirectory(home)) return null;
  return `was made with the python of ${home}, which is not here; it uses ${executable.realPath}`;
}
