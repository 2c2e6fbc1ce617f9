/** The shapes of a detection report. They are its JSON form as they stand: snake_case, `schema: 1`. (A7) */

/** The C library a program loads; `static` for a program without a loader. */
export type Libc = "glibc" | "musl" | "bionic" | "static" | "unknown";

/** Why a file was not taken as an interpreter. */
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
  /** Null when it could not be resolved. */
  readonly real_path: string | null;
  readonly code: RejectionCode;
  /** One printable line that says what is wrong, for a person. */
  readonly reason: string;
}

/** One interpreter that works. Where its files say all there is to know, it may not have been run. */
export interface Installation {
  /** What to run. It matters which link it is: many programs look at the name they were called by. */
  readonly path: string;
  readonly real_path: string;
  /** As the interpreter says it; null for a shell that says none. */
  readonly version: string | null;
  /** `major.minor.patch`, for comparisons. */
  readonly semver: string | null;
  /** What stands behind the name: `cpython`, `pypy`, `busybox`, `openjdk`, …; null when nothing tells. */
  readonly implementation: string | null;
  /** Java's, as its `release` file names it: `Debian`, `Eclipse Adoptium`, …; null for the others. */
  readonly vendor: string | null;
  /** Java and .NET: whether it can build programs or only run them; null for the others. */
  readonly kind: "jdk" | "jre" | "sdk" | "runtime" | null;
  /** Of the program that runs in the end, as far as that is certain; else null. */
  readonly libc: Libc | null;
  readonly arch: string | null;
  /** The shim or wrapper it was reached through, e.g. `pyenv shim /data/.pyenv/shims/python3`; null when none. */
  readonly via: string | null;
  /** Something out of the ordinary that a person should know; null when all is as one would think. */
  readonly note: string | null;
  /** How long its version command took; null when it was not run. */
  readonly probe_ms: number | null;
}

/** The installation that is used unless a sensor asks for another version. */
export interface WorkingInterpreter extends Installation {
  readonly verdict: "ok";
  /** Canonical runtime name. */
  readonly name: string;
  /** Other installations, newest first, at most INSTALLATIONS_ALSO_MAX. */
  readonly also: readonly Installation[];
  /** Candidates that do not work, those that stood before it first. */
  readonly rejected: readonly Rejection[];
}

/** Installations of one language beside the chosen one. */
export const INSTALLATIONS_ALSO_MAX = 8;

export interface BrokenInterpreter {
  readonly verdict: "broken";
  readonly name: string;
  /** Every candidate and what is wrong with it; at least one. */
  readonly rejected: readonly Rejection[];
}

export type InterpreterReport = WorkingInterpreter | BrokenInterpreter;

export interface PackageManager {
  readonly name: string;
  readonly path: string;
  /** Null where only running it would tell. */
  readonly version: string | null;
}

export interface VirtualEnvironment {
  /** Its directory's name. */
  readonly name: string;
  readonly path: string;
  readonly verdict: "ok" | "broken";
  /** Made by venv or virtualenv, or by conda. */
  readonly kind: "venv" | "conda";
  /** Its interpreter and what that resolves to; null when broken. */
  readonly interpreter: string | null;
  readonly real_path: string | null;
  readonly version: string | null;
  readonly semver: string | null;
  /** Null when ok. */
  readonly reason: string | null;
  /** What does not keep it from working, but may surprise; null when there is nothing. */
  readonly note: string | null;
}

/** One thing that was looked at on the way to a verdict, and what came of it. Printable lines. */
export interface Evidence {
  /** Null when it is about no single file. */
  readonly path: string | null;
  readonly check: "search" | "file" | "shim" | "facts" | "run" | "answer" | "verdict";
  readonly found: string;
}

export interface CgroupLimits {
  readonly version: 1 | 2 | null;
  /** Null: no limit. The tightest of the group and those above it that can be seen. */
  readonly memory_max_bytes: number | null;
  /** In cores, e.g. 1.5; null: no limit. */
  readonly cpu_max_cores: number | null;
}

export interface ImageFacts {
  /** From os-release; null where the image has none (scratch). */
  readonly os: {
    readonly id: string;
    readonly version: string | null;
    readonly pretty_name: string;
  } | null;
  readonly kernel: string;
  readonly arch: string;
  /** The C library that programs of the image load; `none` in an image without one. */
  readonly libc: { readonly family: "glibc" | "musl" | "none"; readonly version: string | null };
  readonly cgroup: CgroupLimits;
  readonly uid: number;
  readonly gid: number;
  /** The search path that was used: PATH of the image, or the usual one when it has none. */
  readonly path: string;
}

export interface ImageReport {
  readonly schema: 1;
  /** The whole detection, ms. */
  readonly took_ms: number;
  /** Whether interpreters, package managers and environments are those of an earlier look at the same files. */
  readonly cached: boolean;
  /** When they were looked at, Unix time. */
  readonly looked_at_ms: number;
  /** Those of which at least one candidate exists, in the order of the table. */
  readonly interpreters: readonly InterpreterReport[];
  /** Names of those of which there is no trace. */
  readonly absent: readonly string[];
  readonly package_managers: readonly PackageManager[];
  /** Of FLEET_RUNTIME_ENVS_DIR. */
  readonly environments: readonly VirtualEnvironment[];
  readonly image: ImageFacts;
  /** How each interpreter's verdict came about, in the order it was looked into, by name; the absent ones too. Bounded. */
  readonly evidence: Readonly<Record<string, readonly Evidence[]>>;
}

/** What another start on the same image need not find out again. */
export type Findings = Pick<
  ImageReport,
  "looked_at_ms" | "interpreters" | "absent" | "package_managers" | "environments" | "evidence"
>;
