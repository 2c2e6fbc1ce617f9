/**
 * Limits and another user for a child. Neither Bun nor the kernel can set these from outside before the child's first
 * instruction, so the child starts as the static file's launcher (packages/static-elf/loader/launch.h), which applies them
 * and becomes the program. Used by spawn.ts. (A10)
 */
import { existsSync, writeFileSync } from "node:fs";
import { LIBC } from "@fleet/daemon/version";

/** What a process and its children may use; each is both the soft and the hard limit of setrlimit(2). Whole numbers ≥ 0. */
export interface ResourceLimits {
  readonly openFiles?: number | undefined;
  /** Of the user, in all its processes: it counts what others of the same uid run, too. Not held against root. */
  readonly processes?: number | undefined;
  /** Address space, which is more than what is resident. */
  readonly memoryBytes?: number | undefined;
  /** Rounded up to whole seconds of processor time. */
  readonly cpuMs?: number | undefined;
  /** The largest file it may write. */
  readonly fileBytes?: number | undefined;
  readonly coreBytes?: number | undefined;
}

/** Who runs it, and with what. `uid` and `gid` go together; supplementary groups are given up with them. */
export interface LaunchSettings {
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
  readonly limits?: ResourceLimits | undefined;
  /** The kernel is to take it before us when memory runs out: it is cheaper to lose. As far as the kernel lets us. */
  readonly isExpendable?: boolean | undefined;
}

/** "Always first" (proc(5)). Less would not do: pages of our own file count as ours, though the container is not charged for them. */
const OOM_SCORE = "1000";

/** The name under which the static file is the launcher. */
export const LAUNCHER_NAME = "fleet-launch";

/** The launcher of this process: its own file, also when that was replaced or removed meanwhile; undefined when it is not a static one. */
export const OWN_LAUNCHER: string | undefined = LIBC === null ? undefined : "/proc/self/exe";

/** The launcher's arguments, up to and with its `--`; undefined when nothing is to be set and no launcher is needed. */
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
  const words = Object.entries(settings).flatMap(([name, value]) =>
    value === undefined ? [] : [name, String(value)],
  );
  if (words.length === 0) return undefined;
  return [...(isExpendable ? ["oom", OOM_SCORE] : []), ...words, "--"];
}

/** Does for a process that needed no launcher what the launcher would have done. */
export function makeExpendable(pid: number): void {
  try {
    writeFileSync(`/proc/${pid}/oom_score_adj`, OOM_SCORE);
  } catch {
    // It has ended already, or its files are another's: it is taken by its size, then.
  }
}

/**
 * `command` with its program as a path, since the launcher looks nothing up. Undefined when there is no such program;
 * whether it may be executed is for the launcher to find out, as the user it becomes.
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
