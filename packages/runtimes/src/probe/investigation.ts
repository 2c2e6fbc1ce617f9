/**
 * Detects one interpreter. The first candidate is run immediately; meanwhile the other installations are searched, and run only
 * if their files do not state their version. The first one that works is chosen. (A4)
 */
import { type Candidate, type CandidateContext, Candidates } from "./candidates.ts";
import {
  type Installation,
  INSTALLATIONS_ALSO_MAX,
  type InterpreterReport,
} from "../image-report.ts";
import type { Interpreter } from "./interpreters.ts";
import {
  installationFromFiles,
  type ProbeContext,
  probeInterpreter,
  type Verdict,
} from "./probe-interpreter.ts";
import {
  type VersionedNames,
  newestFirst,
  otherPaths,
  interpreterDirs,
  type CandidatePath,
  plainNamePaths,
  type SearchPath,
} from "./search-path.ts";
import { EvidenceLog } from "../inspect/evidence-log.ts";

export interface InvestigationContext extends ProbeContext, CandidateContext {
  readonly search: SearchPath;
}

/** Candidates of one interpreter examined after the first. */
const OTHERS_MAX = 11;

interface Other {
  readonly candidate: Candidate;
  readonly verdict: Promise<Verdict>;
  /** False when the verdict rests on its files alone. */
  readonly wasRun: boolean;
}

/** Call `start`, then `finish`. */
export class Investigation {
  readonly evidenceLog = new EvidenceLog();
  readonly #interpreter: Interpreter;
  readonly #context: InvestigationContext;
  readonly #candidates: Candidates;
  readonly #plain: Generator<CandidatePath, void>;
  #first: Promise<Verdict> | undefined;
  /** Number of rejections that precede the first candidate. */
  #rejectedBefore = 0;

  constructor(interpreter: Interpreter, context: InvestigationContext) {
    this.#interpreter = interpreter;
    this.#context = context;
    this.#candidates = new Candidates(interpreter, context, this.evidenceLog);
    this.#plain = plainNamePaths(interpreter, context.search, context.observer);
  }

  /** Runs the first candidate that has one of the plain names. */
  start(): void {
    const { search, observer } = this.#context;
    const dirs = [...search.dirs];
    if (!search.pathOnly) dirs.push(...interpreterDirs(this.#interpreter, search, observer));
    const names = this.#interpreter.candidates.join(", ");
    this.evidenceLog.add("search", null, `for ${names} in ${dirs.join(":") || "no directory"}`);
    const first = this.#candidates.next(this.#plain);
    this.#rejectedBefore = this.#candidates.rejected.length;
    if (first !== undefined) this.#first = this.#probe(first);
  }

  /** The verdict; undefined when there is no candidate. Takes at most two timeouts, however many candidates hang. */
  async finish(names: VersionedNames): Promise<InterpreterReport | undefined> {
    const { rejected } = this.#candidates;
    const others = this.#findOthers(names);
    const first = await this.#first;
    const verdicts = await this.#settle(others, first?.at !== "works");
    if (first?.at === "works") verdicts.unshift(first);
    else if (first !== undefined) rejected.splice(this.#rejectedBefore, 0, first.rejection);
    const working: Installation[] = [];
    for (const verdict of verdicts) {
      if (verdict.at === "works") working.push(verdict.installation);
      else this.#candidates.reject(verdict.rejection);
    }
    const [chosen, ...also] = working;
    const { name } = this.#interpreter;
    if (chosen !== undefined)
      return { verdict: "ok", name, ...chosen, also: otherVersions(chosen, also), rejected };
    if (rejected.length > 0) return { verdict: "broken", name, rejected };
    this.evidenceLog.add("verdict", null, "not found");
    return undefined;
  }

  /** Further files with plain names, then those with versioned names and those in other installation directories. */
  #findOthers(names: VersionedNames): Other[] {
    const { search, observer } = this.#context;
    const others: Other[] = [];
    for (const paths of [this.#plain, otherPaths(this.#interpreter, search, observer, names)]) {
      while (others.length < OTHERS_MAX) {
        const candidate = this.#candidates.next(paths);
        if (candidate === undefined) break;
        const known = installationFromFiles(
          this.#interpreter,
          candidate,
          this.evidenceLog,
          observer,
        );
        others.push({
          candidate,
          verdict:
            known === undefined
              ? this.#probe(candidate)
              : Promise.resolve({ at: "works", installation: known }),
          wasRun: known === undefined,
        });
      }
    }
    return others;
  }

  /** Runs those not run yet if one of them may be chosen: only an interpreter that was run can be chosen. */
  async #settle(others: readonly Other[], mayBeChosen: boolean): Promise<Verdict[]> {
    return Promise.all(
      others.map(({ candidate, verdict, wasRun }) =>
        wasRun || !mayBeChosen ? verdict : this.#probe(candidate),
      ),
    );
  }

  #probe(candidate: Candidate): Promise<Verdict> {
    return probeInterpreter(this.#interpreter, candidate, this.evidenceLog, this.#context);
  }
}

/** Newest first, without further programs of an installation that is already listed (R next to Rscript). */
function otherVersions(chosen: Installation, also: readonly Installation[]): Installation[] {
  const key = ({ real_path, version, implementation }: Installation): string =>
    [real_path.slice(0, real_path.lastIndexOf("/")), implementation, version].join("\0");
  const seen = new Set([key(chosen)]);
  return also
    .filter((one) => !seen.has(key(one)) && seen.add(key(one)))
    .toSorted((a, b) => newestFirst(a.semver ?? "", b.semver ?? ""))
    .slice(0, INSTALLATIONS_ALSO_MAX);
}
