/**
 * Runs a child with resource limits or as another user. These must be set inside the child before its first instruction, which
 * Bun cannot do, so the child starts as the launcher in our static executable (packages/static-elf/loader/launch.h), which
 * applies them and then executes the program. Used by spawn.ts. (A10)
 */
import { existsSync, writeFileSync } from "node:fs";
import { LIBC } from "@fleet/daemon/version";

/** Limits of a process and its children, each set as soft and hard limit of setrlimit(2). Integers ≥ 0. */
export interface ResourceLimits {
  readonly openFiles?: number | undefined;
  /** Processes of the user. The kernel counts all processes with the same uid, and does not apply the limit to root. */
  readonly processes?: number | undefined;
  /** Address space, which is larger than the resident memory. */
  readonly memoryBytes?: number | undefined;
  /** CPU time, rounded up to whole seconds. */
  readonly cpuMs?: number | undefined;
  /** Size of the largest file it may write. */
  readonly fileBytes?: number | undefined;
  readonly coreBytes?: number | undefined;
}

/** User and limits of a process. `uid` and `gid` must be set together; supplementary groups are then dropped. */
export interface LaunchSettings {
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
  readonly limits?: ResourceLimits | undefined;
  /** Makes the kernel kill this process rather than ours when memory runs out, as far as the kernel permits. */
  readonly isExpendable?: boolean | undefined;
}

/** The maximum (proc(5)). Lower values do not suffice, because the mapped pages of our executable count towards our own score. */
const OOM_SCORE = "1000";

/** Called by this name, our static executable acts as the launcher. */
export const LAUNCHER_NAME = "fleet-launch";

/** The launcher: this process's executable, even if its file was replaced or removed; undefined unless it is a static build. */
export const OWN_LAUNCHER: string | undefined = LIBC === null ? undefined : "/proc/self/exe";

/** The launcher's arguments up to and including `--`; undefined when nothing needs a launcher. */
export function launchArguments(launch: LaunchSettings): string[] | undefined {
  const { uid, gid, limits = {}, isExpendable = false } = launch;
  const { openFiles, processes, memoryBytes, cpuMs, fileBytes, coreBytes } = limits;
  const settings: Readonly<Record<string, number | undefined>> = {
    nofile: openFiles,
    nproc: processes,
    as: memoryBytes,
    cpu: cpuMs === undefined ? undefined : Math.ceil(cpuMs / 1000),
    fsize: fileBytes,
    core: coreBytes,
    uid,
    gid,
  };
  const args = Object.entries(settings).flatMap(([name, value]) =>
    value === undefined ? [] : [name, String(value)],
  );
  if (args.length === 0) return undefined;
  return [...(isExpendable ? ["oom", OOM_SCORE] : []), ...args, "--"];
}

/** Sets `isExpendable` for a process that was started without the launcher. */
export function makeExpendable(pid: number): void {
  try {
    writeFileSync(`/proc/${pid}/oom_score_adj`, OOM_SCORE);
  } catch {
    // It has already exited, or belongs to another user. The kernel then judges it by its size.
  }
}

/**
 * `command` with its program resolved to a path, because the launcher does not search PATH. Undefined when the program does not
 * exist. Whether it is executable is left to the launcher, which runs as the child's user.
 */
export function locateProgram(
  command: readonly string[],
  env: Readonly<Record<string, string>>,
  cwd: string | undefined,
): readonly string[] | undefined {
  const [program = "", ...rest] = command;
  if (program.includes("/")) return cwd !== undefined || existsSync(program) ? command : undefined;
  const path = Bun.which(program, {
    PATH: env["PATH"] ?? "",
    ...(cwd === undefined ? {} : { cwd }),
  });
  return path === null ? undefined : [path, ...rest];
}
