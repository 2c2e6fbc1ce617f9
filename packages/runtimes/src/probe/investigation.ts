/**
 * One interpreter's way to a verdict: the first candidate is run at once; meanwhile the other installations are found, and those of
 * which the files leave doubt are run too. The first that works is the chosen one. (A4)
 */
import { type Candidate, type CandidateContext, Candidates } from "./candidates.ts";
import {
  type Installation,
  INSTALLATIONS_ALSO_MAX,
  type InterpreterReport,
} from "../image-report.ts";
import type { Interpreter } from "./interpreters.ts";
import {
  knownInstallation,
  type ProbeContext,
  probeInterpreter,
  type Verdict,
} from "./probe-interpreter.ts";
import {
  type NamesIn,
  newestFirst,
  otherPlaces,
  ownDirs,
  type Place,
  plainPlaces,
  type SearchPath,
} from "./search-path.ts";
import { EvidenceLog } from "../inspect/evidence-log.ts";

export interface InvestigationContext extends ProbeContext, CandidateContext {
  readonly search: SearchPath;
}

/** Candidates of one interpreter beside the first; those beyond them are not looked at. */
const OTHERS_MAX = 11;

interface Other {
  readonly candidate: Candidate;
  readonly verdict: Promise<Verdict>;
  /** Whether it was run, or only its files say that it works. */
  readonly isProven: boolean;
}

export class Investigation {
  readonly evidenceLog = new EvidenceLog();
  readonly #interpreter: Interpreter;
  readonly #context: InvestigationContext;
  readonly #candidates: Candidates;
  readonly #plain: Generator<Place, void>;
  #first: Promise<Verdict> | undefined;
  /** Rejections that stood before the first candidate. */
  #passedOver = 0;

  constructor(interpreter: Interpreter, context: InvestigationContext) {
    this.#interpreter = interpreter;
    this.#context = context;
    this.#candidates = new Candidates(interpreter, context, this.evidenceLog);
    this.#plain = plainPlaces(interpreter, context.search, context.observer);
  }

  /** Starts the first candidate that bears one of the plain names. */
  begin(): void {
    const { search, observer } = this.#context;
    const dirs = [...search.dirs];
    if (!search.pathOnly) dirs.push(...ownDirs(this.#interpreter, search, observer));
    const names = this.#interpreter.candidates.join(", ");
    this.evidenceLog.add(
      "search",
      null,
      `looked for ${names} in ${dirs.join(":") || "no directory"}`,
    );
    const first = this.#candidates.next(this.#plain);
    this.#passedOver = this.#candidates.rejected.length;
    if (first !== undefined) this.#first = this.#probe(first);
  }

  /** Undefined when there is no trace of it. However many candidates hang, it takes no longer than two timeouts. */
  async finish(names: NamesIn): Promise<InterpreterReport | undefined> {
    const { rejected } = this.#candidates;
    const others = this.#findOthers(names);
    const first = await this.#first;
    const verdicts = await this.#settle(others, first?.at !== "works");
    if (first?.at === "works") verdicts.unshift(first);
    else if (first !== undefined) rejected.splice(this.#passedOver, 0, first.rejection);
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
    this.evidenceLog.add("verdict", null, "no trace of it");
    return undefined;
  }

  /** What bears a plain name further on, then versioned names and the places of version managers. */
  #findOthers(names: NamesIn): Other[] {
    const { search, observer } = this.#context;
    const places = [this.#plain, otherPlaces(this.#interpreter, search, observer, names)];
    const others: Other[] = [];
    for (const place of places) {
      while (others.length < OTHERS_MAX) {
        const candidate = this.#candidates.next(place);
        if (candidate === undefined) break;
        const known = knownInstallation(this.#interpreter, candidate, this.evidenceLog, observer);
        others.push({
          candidate,
          verdict:
            known === undefined
              ? this.#probe(candidate)
              : Promise.resolve({ at: "works", installation: known }),
          isProven: known === undefined,
        });
      }
    }
    return others;
  }

  /** One of them may be chosen only if it was run. */
  async #settle(others: readonly Other[], needsProof: boolean): Promise<Verdict[]> {
    return Promise.all(
      others.map(({ candidate, verdict, isProven }) =>
        isProven || !needsProof ? verdict : this.#probe(candidate),
      ),
    );
  }

  #probe(candidate: Candidate): Promise<Verdict> {
    return probeInterpreter(this.#interpreter, candidate, this.evidenceLog, this.#context);
  }
}

/** Newest first; a second program of an installation that is in already (R beside Rscript) is no other version. */
function otherVersions(chosen: Installation, also: readonly Installation[]): Installation[] {
  const key = ({ real_path, version, implementation }: Installation): string =>
    [real_path.slice(0, real_path.lastIndexOf("/")), implementation, version].join("\0");
  const seen = new Set([key(chosen)]);
  return also
    .filter((one) => !seen.has(key(one)) && seen.add(key(one)))
    .toSorted((a, b) => newestFirst(a.semver ?? "", b.semver ?? ""))
    .slice(0, INSTALLATIONS_ALSO_MAX);
}
