/** Finds the files that may be an interpreter: looks through shims and wrappers, passes over the agent itself, and keeps why a file won't do. (A4) */
import type { Libc, Rejection, RejectionCode } from "../image-report.ts";
import {
  type Executable,
  inspectExecutable,
  type Inspection,
} from "../inspect/inspect-executable.ts";
import type { Interpreter } from "./interpreters.ts";
import type { FileObserver } from "../inspect/file-observer.ts";
import { printable } from "../inspect/printable.ts";
import type { Place } from "./search-path.ts";
import { resolveShim } from "./shims.ts";
import type { EvidenceLog } from "../inspect/evidence-log.ts";

/** A file that can be asked for its version. */
export interface Candidate {
  readonly executable: Executable;
  /** Of the program that runs in the end, null where that is not certain. */
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
  /** Files that are the agent itself: they are passed over without a word, as if absent. */
  readonly selfIds: ReadonlySet<string>;
  /** All interpreters, to know one by another's name. */
  readonly table: readonly Interpreter[];
}

/** Reasons kept for one interpreter. */
const REJECTIONS_MAX = 16;

/** The files of one interpreter, each once, by whatever names and links it is reached. */
export class Candidates {
  /** Those that won't do, in the order they were met. */
  readonly rejected: Rejection[] = [];
  readonly #interpreter: Interpreter;
  readonly #context: CandidateContext;
  readonly #evidenceLog: EvidenceLog;
  readonly #seen = new Set<string>();
  /** Directories that have given a candidate. */
  readonly #givers = new Set<string>();

  constructor(interpreter: Interpreter, context: CandidateContext, evidenceLog: EvidenceLog) {
    this.#interpreter = interpreter;
    this.#context = context;
    this.#evidenceLog = evidenceLog;
  }

  /** Takes places until one holds a candidate. */
  next(places: Generator<Place, void>): Candidate | undefined {
    for (;;) {
      const place = places.next();
      if (place.done === true) return undefined;
      const candidate = this.#lookAt(place.value);
      if (candidate !== undefined) return candidate;
    }
  }

  reject(rejection: Rejection): void {
    if (this.rejected.length < REJECTIONS_MAX) this.rejected.push(rejection);
    else this.#evidenceLog.add("verdict", rejection.path, rejection.reason);
  }

  #lookAt({ path, inKnownDir }: Place): Candidate | undefined {
    if (this.#isSeen(path)) return undefined;
    const inspection = this.#inspect(path, inKnownDir);
    if (inspection.at !== "viable") {
      this.#refuse(inspection);
      return undefined;
    }
    const { executable } = inspection;
    if (this.#context.selfIds.has(executable.fileId)) {
      this.#context.observer.self(path);
      this.#evidenceLog.add("file", path, "is this agent");
      return undefined;
    }
    const shim = resolveShim(executable, { ...this.#context, runtime: this.#interpreter.name });
    if (shim === undefined) return this.#take(executable, null);
    if (shim.at === "program") {
      this.#evidenceLog.add("shim", path, `${shim.via}: ${shim.askedBy} asks for ${shim.path}`);
      const target = this.#inspect(shim.path, false);
      if (target.at === "viable") return this.#take(target.executable, shim.via);
      this.#refuse(target);
    } else if (shim.at === "system")
      this.#evidenceLog.add(
        "shim",
        path,
        `${shim.via}: leaves it to what is next (${shim.askedBy})`,
      );
    else this.#say(executable, "shim_unresolved", `is a ${shim.via}: ${shim.reason}`);
    return undefined;
  }

  #take(executable: Executable, via: string | null): Candidate | undefined {
    const { path, realPath, format, fileId, libc, arch, script } = executable;
    if (this.#isSeen(fileId)) {
      this.#evidenceLog.add("file", path, `is the same file as one before (${realPath})`);
      return undefined;
    }
    const dir = path.slice(0, path.lastIndexOf("/"));
    if (this.#interpreter.isOneProgram === true && this.#givers.has(dir)) {
      this.#evidenceLog.add("file", path, "belongs to the one before");
      return undefined;
    }
    this.#givers.add(dir);
    const other = this.#nameOfAnother(realPath);
    if (other !== undefined) {
      this.#say(executable, "impostor", `is ${other} under the name of ${this.#interpreter.name}`);
      return undefined;
    }
    const kind = format === "elf" ? `program for ${arch}, ${libc}` : format;
    const link = realPath === path ? "" : ` -> ${realPath}`;
    const what = format === "unread" ? "can be run but not read" : kind;
    this.#evidenceLog.add("file", path, `${what}${link}`);
    const target = script === null ? undefined : execTarget(script);
    if (target === undefined) return { executable, libc, arch, via, note: null };
    const end = this.#inspect(target, false);
    const isEnd = end.at === "viable" && end.executable.format === "elf";
    return {
      executable,
      libc: isEnd ? end.executable.libc : null,
      arch: isEnd ? end.executable.arch : null,
      via: via ?? `wrapper ${path}`,
      note: `is a script that starts ${printable(target, 120)}`,
    };
  }

  /** The interpreter whose name the file bears in truth, when it isn't this one: `node` may be a link to bun. */
  #nameOfAnother(realPath: string): string | undefined {
    const name = realPath.slice(realPath.lastIndexOf("/") + 1);
    const isNameOf = ({ candidates, versioned }: Interpreter): boolean =>
      candidates.includes(name) || versioned?.test(name) === true;
    if (this.#interpreter.isCustom === true || isNameOf(this.#interpreter)) return undefined;
    return this.#context.table.find(isNameOf)?.name;
  }

  #inspect(path: string, inKnownDir: boolean): Inspection {
    return inspectExecutable(path, { ...this.#context, inKnownDir });
  }

  #refuse(inspection: Exclude<Inspection, { at: "viable" }>): void {
    if (inspection.at === "absent") return;
    const { path, real_path, reason } = inspection.rejection;
    if (real_path !== null && real_path !== path && this.#isSeen(real_path)) return;
    this.#evidenceLog.add("file", path, reason);
    this.reject(inspection.rejection);
  }

  #say({ path, realPath }: Executable, code: RejectionCode, reason: string): void {
    this.#evidenceLog.add(code === "shim_unresolved" ? "shim" : "file", path, reason);
    this.reject({ path, real_path: realPath, code, reason: printable(reason, 300) });
  }

  #isSeen(key: string): boolean {
    if (this.#seen.has(key)) return true;
    this.#seen.add(key);
    return false;
  }
}

/** What a shell script ends in, when it says so in so many words: one `exec` of an absolute path, with all arguments. */
function execTarget(script: string): string | undefined {
  if (!/^#![^\n]*sh\b/.test(script)) return undefined;
  const execs = script.match(/^[ \t]*exec[ \t].*$/gm) ?? [];
  if (execs.length !== 1) return undefined;
  return /exec[ \t]+(?:-a[ \t]+"\$0"[ \t]+)?"?(\/[^\s"$`*?]+)"?[ \t](?:.*[ \t])?"\$@"/.exec(
    execs[0] ?? "",
  )?.[1];
}
