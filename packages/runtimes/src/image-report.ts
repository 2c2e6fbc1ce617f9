/** The shapes of a detection report. They are its JSON form as they stand: snake_case, `schema: 1`. (A7) */
import type { Libc } from "./elf-header.ts";

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

export interface WorkingInterpreter {
  readonly verdict: "ok";
  /** Canonical runtime name. */
  readonly name: string;
  /** What to run. It matters which link it is: many programs look at the name they were called by. */
  readonly path: string;
  readonly real_path: string;
  /** As the interpreter says it; null for a shell that says none. */
  readonly version: string | null;
  /** `major.minor.patch`, for comparisons. */
  readonly semver: string | null;
  readonly implementation: string | null;
  /** Null when the file is a script or can't be read. */
  readonly libc: Libc | null;
  readonly arch: string | null;
  /** How long its version command took. */
  readonly probe_ms: number;
  /** Candidates that stood before it and were passed over. */
  readonly rejected: readonly Rejection[];
}

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
}

export interface VirtualEnvironment {
  /** Its directory's name. */
  readonly name: string;
  readonly path: string;
  readonly verdict: "ok" | "broken";
  /** Its interpreter and what that resolves to; null when broken. */
  readonly interpreter: string | null;
  readonly real_path: string | null;
  /** Null when ok. */
  readonly reason: string | null;
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
  /** Those of which at least one candidate exists, in the order of the table. */
  readonly interpreters: readonly InterpreterReport[];
  /** Names of those of which there is no trace. */
  readonly absent: readonly string[];
  readonly package_managers: readonly PackageManager[];
  /** Of FLEET_RUNTIME_ENVS_DIR. */
  readonly environments: readonly VirtualEnvironment[];
  readonly image: ImageFacts;
}
