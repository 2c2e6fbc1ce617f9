/** Finds the files that may be an interpreter: resolves shims and wrappers, skips the agent, records rejections. (A4) */
import type { Libc, Rejection, RejectionCode } from "../image-report.ts";
import {
  type Executable,
  inspectExecutable,
  type Inspection,
} from "../inspect/inspect-executable.ts";
import type { Interpreter } from "./interpreters.ts";
import type { FileObserver } from "../inspect/file-observer.ts";
import { printable } from "../inspect/printable.ts";
import type { CandidatePath } from "./search-path.ts";
import { resolveShim } from "./resolve-shim.ts";
import type { EvidenceLog } from "../inspect/evidence-log.ts";

/** A file whose version command can be run. */
export interface Candidate {
  readonly executable: Executable;
  /** C library of the program that finally runs; null when uncertain. */
  readonly libc: Libc | null;
  readonly arch: string | null;
  readonly via: string | null;
  readonly note: string | null;
}

export interface CandidateContext {
  readonly observer: FileObserver;
  /** `process.arch` of the agent. */
  readonly hostArch: string;
  readonly home: string | undefined;
  /** File ids of the agent's own executable, which is treated as absent. */
  readonly selfIds: ReadonlySet<string>;
  /** All interpreters, to recognise one installed under another's name. */
  readonly table: readonly Interpreter[];
}

/** Rejections reported for one interpreter. */
const REJECTIONS_MAX = 16;

/** Turns paths into the candidates of one interpreter. Each file is returned once, even if several names and links lead to it. */
export class Candidates {
  /** The rejected files, in the order of the search. */
  readonly rejected: Rejection[] = [];
  readonly #interpreter: Interpreter;
  readonly #context: CandidateContext;
  readonly #evidenceLog: EvidenceLog;
  readonly #seen = new Set<string>();
  /** Directories in which a candidate was found. */
  readonly #candidateDirs = new Set<string>();

  constructor(interpreter: Interpreter, context: CandidateContext, evidenceLog: EvidenceLog) {
    this.#interpreter = interpreter;
    this.#context = context;
    this.#evidenceLog = evidenceLog;
  }

  /** Advances `paths` to the next candidate; undefined when there is none left. */
  next(paths: Generator<CandidatePath, void>): Candidate | undefined {
    for (;;) {
      const path = paths.next();
      if (path.done === true) return undefined;
      const candidate = this.#examine(path.value);
      if (candidate !== undefined) return candidate;
    }
  }

  reject(rejection: Rejection): void {
    if (this.rejected.length < REJECTIONS_MAX) this.rejected.push(rejection);
    else this.#evidenceLog.add("verdict", rejection.path, rejection.reason);
  }

  #examine({ path, isDirObserved }: CandidatePath): Candidate | undefined {
    if (this.#isSeen(path)) return undefined;
    const inspection = this.#inspect(path, isDirObserved);
    if (inspection.at !== "viable") {
      this.#recordRejection(inspection);
      return undefined;
    }
    const { executable } = inspection;
    if (this.#context.selfIds.has(executable.fileId)) {
      this.#context.observer.recordSelf(path);
      this.#evidenceLog.add("file", path, "is this agent");
      return undefined;
    }
    const shim = resolveShim(executable, { ...this.#context, runtime: this.#interpreter.name });
    if (shim === undefined) return this.#accept(executable, null);
    if (shim.at === "program") {
      this.#evidenceLog.add("shim", path, `${shim.via}: ${shim.source} selects ${shim.path}`);
      const target = this.#inspect(shim.path, false);
      if (target.at === "viable") return this.#accept(target.executable, shim.via);
      this.#recordRejection(target);
    } else if (shim.at === "system")
      this.#evidenceLog.add(
        "shim",
        path,
        `${shim.via}: defers to the next one on PATH (${shim.source})`,
      );
    else this.#rejectViable(executable, "shim_unresolved", `is a ${shim.via}: ${shim.reason}`);
    return undefined;
  }

  #accept(executable: Executable, via: string | null): Candidate | undefined {
    const { path, realPath, format, fileId, libc, arch, script } = executable;
    if (this.#isSeen(fileId)) {
      this.#evidenceLog.add("file", path, `is the same file as an earlier one (${realPath})`);
      return undefined;
    }
    const dir = path.slice(0, path.lastIndexOf("/"));
    if (this.#interpreter.isOneInstallationPerDir === true && this.#candidateDirs.has(dir)) {
      this.#evidenceLog.add("file", path, "belongs to the same installation as an earlier one");
      return undefined;
    }
    this.#candidateDirs.add(dir);
    const other = this.#otherInterpreterOf(realPath);
    if (other !== undefined) {
      const reason = `is ${other} under the name of ${this.#interpreter.name}`;
      this.#rejectViable(executable, "impostor", reason);
      return undefined;
    }
    const kind = format === "elf" ? `program for ${arch}, ${libc}` : format;
    const link = realPath === path ? "" : ` -> ${realPath}`;
    const description = format === "unreadable" ? "can be run but not read" : kind;
    this.#evidenceLog.add("file", path, `${description}${link}`);
    const target = script === null ? undefined : execTarget(script);
    if (target === undefined) return { executable, libc, arch, via, note: null };
    const started = this.#inspect(target, false);
    const program =
      started.at === "viable" && started.executable.format === "elf" ? started.executable : null;
    return {
      executable,
      libc: program?.libc ?? null,
      arch: program?.arch ?? null,
      via: via ?? `wrapper ${path}`,
      note: `is a script that starts ${printable(target, 120)}`,
    };
  }

  /** The other interpreter that the resolved file is named after, if any: `node` may be a link to bun. */
  #otherInterpreterOf(realPath: string): string | undefined {
    const name = realPath.slice(realPath.lastIndexOf("/") + 1);
    const isNameOf = ({ candidates, versionedName }: Interpreter): boolean =>
      candidates.includes(name) || versionedName?.test(name) === true;
    if (this.#interpreter.isCustom === true || isNameOf(this.#interpreter)) return undefined;
    return this.#context.table.find(isNameOf)?.name;
  }

  #inspect(path: string, isDirObserved: boolean): Inspection {
    return inspectExecutable(path, { ...this.#context, isDirObserved });
  }

  #recordRejection(inspection: Exclude<Inspection, { at: "viable" }>): void {
    if (inspection.at === "absent") return;
    const { path, real_path, reason } = inspection.rejection;
    if (real_path !== null && real_path !== path && this.#isSeen(real_path)) return;
    this.#evidenceLog.add("file", path, reason);
    this.reject(inspection.rejection);
  }

  #rejectViable({ path, realPath }: Executable, code: RejectionCode, reason: string): void {
    this.#evidenceLog.add(code === "shim_unresolved" ? "shim" : "file", path, reason);
    this.reject({ path, real_path: realPath, code, reason: printable(reason, 300) });
  }

  #isSeen(key: string): boolean {
    if (this.#seen.has(key)) return true;
    this.#seen.add(key);
    return false;
  }
}

/** The program a shell script starts, if the script has a single `exec` line with an absolute path and all arguments. */
function execTarget(script: string): string | undefined {
  if (!/^#![^\n]*sh\b/.test(script)) return undefined;
  const execs = script.match(/^[ \t]*exec[ \t].*$/gm) ?? [];
  if (execs.length !== 1) return undefined;
  return /exec[ \t]+(?:-a[ \t]+"\$0"[ \t]+)?"?(\/[^\s"$`*?]+)"?[ \t](?:.*[ \t])?"\$@"/.exec(
    execs[0] ?? "",
  )?.[1];
}
