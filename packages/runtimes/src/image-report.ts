/** The types of a detection report. They are its JSON form too: snake_case, `schema: 1`. (A7) */

/** The C library a program is linked with; `static` for a program without a loader. */
export type Libc = "glibc" | "musl" | "bionic" | "static" | "unknown";

/** Why a file was rejected as an interpreter. */
export type RejectionCode =
  | "symlink_loop"
  | "dangling_link"
  | "directory"
  | "not_a_file"
  | "not_executable"
  | "unreadable"
  | "bad_format"
  | "foreign_arch"
  | "loader_missing"
  | "script_interpreter_missing"
  | "library_missing"
  | "shim_unresolved"
  | "impostor"
  | "vanished"
  | "spawn_failed"
  | "timeout"
  | "flood"
  | "crashed"
  | "failed"
  | "no_version"
  | "bad_pattern";

export interface Rejection {
  readonly path: string;
  /** Null when the path could not be resolved. */
  readonly real_path: string | null;
  readonly code: RejectionCode;
  /** One printable line for people: a verb phrase that follows the path, such as `is a directory`. */
  readonly reason: string;
}

/** A working interpreter. It may not have been run if its files state its version. */
export interface Installation {
  /** The path to run. Not interchangeable with `real_path`: many programs depend on the name they are called by. */
  readonly path: string;
  readonly real_path: string;
  /** As the interpreter reports it; null for a shell without a version. */
  readonly version: string | null;
  /** `major.minor.patch`, for comparisons. */
  readonly semver: string | null;
  /** `cpython`, `pypy`, `busybox`, `openjdk`, …; null when unknown. */
  readonly implementation: string | null;
  /** The vendor of a Java, as its `release` file names it: `Debian`, `Eclipse Adoptium`, …; null for other languages. */
  readonly vendor: string | null;
  /** Java and .NET: `jdk` and `sdk` can build programs, `jre` and `runtime` only run them; null for other languages. */
  readonly kind: "jdk" | "jre" | "sdk" | "runtime" | null;
  /** C library of the program that finally runs; null when that is uncertain, as for a script. */
  readonly libc: Libc | null;
  /** Machine of that program, as `uname -m` names it; null when uncertain. */
  readonly arch: string | null;
  /** The shim or wrapper that leads to it, such as `pyenv shim /data/.pyenv/shims/python3`; null when there is none. */
  readonly via: string | null;
  /** Something unusual that people should know; null when there is nothing. */
  readonly note: string | null;
  /** Run time of the version command; null when it was not run. */
  readonly probe_ms: number | null;
}

/** The installation that sensors use unless they require another version. */
export interface WorkingInterpreter extends Installation {
  readonly verdict: "ok";
  /** Canonical runtime name. */
  readonly name: string;
  /** Other installations, newest first, at most INSTALLATIONS_ALSO_MAX. */
  readonly also: readonly Installation[];
  /** Candidates that do not work. Those that precede the chosen one on the search path come first. */
  readonly rejected: readonly Rejection[];
}

/** Installations of one language listed in addition to the chosen one. */
export const INSTALLATIONS_ALSO_MAX = 8;

export interface BrokenInterpreter {
  readonly verdict: "broken";
  readonly name: string;
  /** Every candidate with the reason for its rejection; at least one. */
  readonly rejected: readonly Rejection[];
}

export type InterpreterReport = WorkingInterpreter | BrokenInterpreter;

export interface PackageManager {
  readonly name: string;
  readonly path: string;
  /** Null when only running it would reveal the version. */
  readonly version: string | null;
}

export interface VirtualEnvironment {
  /** Its directory's name. */
  readonly name: string;
  readonly path: string;
  readonly verdict: "ok" | "broken";
  /** `venv` also stands for virtualenv. */
  readonly kind: "venv" | "conda";
  /** Path of its interpreter, and the file that resolves to; null when broken. */
  readonly interpreter: string | null;
  readonly real_path: string | null;
  readonly version: string | null;
  readonly semver: string | null;
  /** Null when ok. */
  readonly reason: string | null;
  /** Something unexpected that does not prevent it from working; null when there is nothing. */
  readonly note: string | null;
}

/** One step towards a verdict: what was checked and the result, as printable lines. */
export interface Evidence {
  /** Null when the step does not concern a single file. */
  readonly path: string | null;
  readonly check: "search" | "file" | "shim" | "facts" | "run" | "answer" | "verdict";
  readonly found: string;
}

export interface CgroupLimits {
  readonly version: 1 | 2 | null;
  /** The lowest limit of the group and its visible ancestors; null: no limit. */
  readonly memory_max_bytes: number | null;
  /** In cores, such as 1.5; null: no limit. */
  readonly cpu_max_cores: number | null;
}

export interface ImageFacts {
  /** From os-release; null when the image has no such file (scratch). */
  readonly os: {
    readonly id: string;
    readonly version: string | null;
    readonly pretty_name: string;
  } | null;
  readonly kernel: string;
  readonly arch: string;
  /** The C library of the image's programs; `none` in an image without one. */
  readonly libc: { readonly family: "glibc" | "musl" | "none"; readonly version: string | null };
  readonly cgroup: CgroupLimits;
  readonly uid: number;
  readonly gid: number;
  /** The search path used: PATH of the image, or the default path when PATH is unset. */
  readonly path: string;
}

export interface ImageReport {
  readonly schema: 1;
  /** Duration of the whole detection, ms. */
  readonly took_ms: number;
  /** Whether everything but `image` was found by an earlier start and the files have not changed since. */
  readonly cached: boolean;
  /** When detection examined the files, Unix time. */
  readonly looked_at_ms: number;
  /** Interpreters with at least one candidate, in the order of the table. */
  readonly interpreters: readonly InterpreterReport[];
  /** Names of the interpreters without any candidate. */
  readonly absent: readonly string[];
  readonly package_managers: readonly PackageManager[];
  /** The environments in FLEET_RUNTIME_ENVS_DIR. */
  readonly environments: readonly VirtualEnvironment[];
  readonly image: ImageFacts;
  /** The steps that led to each interpreter's verdict, by name, including absent ones; at most STEPS_MAX each. */
  readonly evidence: Readonly<Record<string, readonly Evidence[]>>;
}

/** The part of a report that the cache keeps. */
export type Findings = Pick<
  ImageReport,
  "looked_at_ms" | "interpreters" | "absent" | "package_managers" | "environments" | "evidence"
>;
