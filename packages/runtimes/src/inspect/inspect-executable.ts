/** Checks without running it whether a file can be an interpreter of this machine. Never throws. (A4) */
import {
  accessSync,
  type BigIntStats,
  closeSync,
  constants,
  lstatSync,
  openSync,
  readlinkSync,
  readSync,
  realpathSync,
} from "node:fs";
import { dirname, resolve } from "node:path";
import { ELF_HEAD_BYTES, libcOfLoader, parseElfHeader } from "./elf-header.ts";
import type { Libc, Rejection, RejectionCode } from "../image-report.ts";
import { errorCode, type FileObserver } from "./file-observer.ts";
import { printable } from "./printable.ts";

export interface Executable {
  readonly path: string;
  readonly realPath: string;
  /** `unreadable`: this user may run the file but not read it. */
  readonly format: "elf" | "script" | "unreadable";
  readonly libc: Libc | null;
  readonly arch: string | null;
  /** The first ELF_HEAD_BYTES of a script, including its `#!` line; null for a program. */
  readonly script: string | null;
  /** Device and inode, which identify a file under any name. */
  readonly fileId: string;
  /** Changes whenever the file does. */
  readonly fingerprint: string;
}

export type Inspection =
  | { readonly at: "absent" }
  | { readonly at: "viable"; readonly executable: Executable }
  | { readonly at: "rejected"; readonly rejection: Rejection };

/** ELF machines that run on each architecture: the native one, and the 32-bit one that most kernels also support. */
const RUNNABLE_MACHINES: Readonly<Record<string, readonly number[]>> = {
  x64: [62, 3],
  arm64: [183, 40],
};

const SHEBANG_BYTES_MAX = 256;

/** The kernel follows no more than this. */
const LINKS_MAX = 40;

export interface InspectContext {
  readonly observer: FileObserver;
  /** `process.arch` of the agent. */
  readonly hostArch: string;
  /** Whether the directory of the file has been observed. */
  readonly isDirObserved?: boolean;
}

/** `absent` when the path or a directory above it does not exist; everything else that can't be run is `rejected` with a reason. */
export function inspectExecutable(
  path: string,
  { observer, hostArch, isDirObserved = false }: InspectContext,
): Inspection {
  let realPath: string | null = null;
  const reject = (code: RejectionCode, reason: string): Inspection => ({
    at: "rejected",
    rejection: { path, real_path: realPath, code, reason: printable(reason, 300) },
  });
  const entry = observer.observe(path, isDirObserved);
  if (entry.at === "absent") return { at: "absent" };
  try {
    if (entry.at === "dangling")
      return reject("dangling_link", `links to ${missingTarget(path)}, which does not exist`);
    if (entry.at === "unknown")
      return entry.code === "ELOOP"
        ? reject("symlink_loop", "is a loop of symbolic links")
        : reject("unreadable", `cannot be accessed (${entry.code})`);
    realPath = realpathSync.native(path);
    const { stat } = entry;
    if (stat.isDirectory()) return reject("directory", "is a directory");
    if (!stat.isFile()) return reject("not_a_file", "is not a regular file");
    if (!mayExecute(path))
      return reject(
        "not_executable",
        "is not executable by this user, or is on a file system mounted noexec",
      );

    const facts = readFormat(realPath, hostArch, observer);
    if ("code" in facts) return reject(facts.code, facts.reason);
    const fingerprint = fingerprintOf(stat);
    const executable = { path, realPath, ...facts, fileId: fileId(stat), fingerprint };
    return { at: "viable", executable };
  } catch (error) {
    // The file was removed or replaced after it was observed.
    observer.markUnrepeatable();
    const code = errorCode(error);
    if (code === "ENOENT" || code === "ENOTDIR") return { at: "absent" };
    return reject("unreadable", `cannot be accessed (${code})`);
  }
}

/** The missing file at the end of a chain of links. */
function missingTarget(path: string): string {
  let target = path;
  for (let hops = 0; hops < LINKS_MAX; hops++) {
    if (lstatSync(target, { throwIfNoEntry: false })?.isSymbolicLink() !== true) break;
    target = resolve(dirname(target), readlinkSync(target));
  }
  return target;
}

/** Identifies a file independently of its path. */
export function fileId(stat: {
  readonly dev: number | bigint;
  readonly ino: number | bigint;
}): string {
  return `${stat.dev}:${stat.ino}`;
}

/** Changes when a file is replaced or rewritten. */
export function fingerprintOf(stat: BigIntStats): string {
  return `${fileId(stat)}:${stat.size}:${stat.mtimeNs}`;
}

type Format =
  | Pick<Executable, "format" | "libc" | "arch" | "script">
  | { readonly code: RejectionCode; readonly reason: string };

function readFormat(realPath: string, hostArch: string, observer: FileObserver): Format {
  let file: number;
  try {
    file = openSync(realPath, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch {
    return { format: "unreadable", libc: null, arch: null, script: null };
  }
  try {
    const head = readAt(file, 0, ELF_HEAD_BYTES);
    if (head[0] === 0x23 && head[1] === 0x21) return checkShebang(head, observer);
    const elf = parseElfHeader(head);
    if (elf === undefined)
      return { code: "bad_format", reason: "is neither a program (ELF) nor a script (#!)" };
    const runnable = RUNNABLE_MACHINES[hostArch];
    if (runnable !== undefined && !runnable.includes(elf.machine)) {
      return {
        code: "foreign_arch",
        reason: `is a program for ${elf.arch}, but this machine is ${machineName(hostArch)}`,
      };
    }
    const loader = elf.loader === null ? null : loaderPath(file, elf.loader);
    if (loader !== null && observer.observe(loader).at !== "present")
      return {
        code: "loader_missing",
        reason: `needs the loader ${loader}, which is not in this image`,
      };
    return { format: "elf", libc: libcOfLoader(loader), arch: elf.arch, script: null };
  } finally {
    closeSync(file);
  }
}

/** Converts `process.arch` to the name of `uname -m`. */
export function machineName(hostArch: string): string {
  return { x64: "x86_64", arm64: "aarch64", ia32: "i686" }[hostArch] ?? hostArch;
}

function checkShebang(head: Uint8Array, observer: FileObserver): Format {
  const script = new TextDecoder().decode(head);
  const interpreter = /^#![ \t]*([^ \t\r\n]+)/.exec(script.slice(0, SHEBANG_BYTES_MAX))?.[1] ?? "";
  if (interpreter.startsWith("/") && observer.observe(interpreter).at !== "present") {
    return {
      code: "script_interpreter_missing",
      reason: `is a script for ${interpreter}, which is not in this image`,
    };
  }
  return { format: "script", libc: null, arch: null, script };
}

function loaderPath(
  file: number,
  at: { readonly offset: number; readonly length: number },
): string {
  const bytes = readAt(file, at.offset, at.length);
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end === -1 ? bytes : bytes.subarray(0, end));
}

function readAt(file: number, offset: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  return bytes.subarray(0, readSync(file, bytes, 0, length, offset));
}

/** The path with all links resolved; undefined when it does not exist. */
export function realPathOf(path: string): string | undefined {
  try {
    return realpathSync.native(path);
  } catch {
    return undefined;
  }
}

/** Whether this user may execute the file. */
export function mayExecute(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
