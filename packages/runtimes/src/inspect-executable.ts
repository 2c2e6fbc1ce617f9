/** What can be said of an interpreter's file without running it. Each check is a few system calls; nothing here throws. (A4) */
import {
  accessSync,
  closeSync,
  constants,
  lstatSync,
  openSync,
  readlinkSync,
  readSync,
  realpathSync,
  statSync,
} from "node:fs";
import { dirname, resolve } from "node:path";
import { ELF_HEAD_BYTES, libcOfLoader, parseElfHeader } from "./elf-header.ts";
import type { Libc } from "./elf-header.ts";
import type { Rejection, RejectionCode } from "./image-report.ts";
import { printable } from "./printable.ts";

export interface Executable {
  readonly path: string;
  readonly realPath: string;
  /** `unread`: we may run it but not read it. */
  readonly format: "elf" | "script" | "unread";
  readonly libc: Libc | null;
  readonly arch: string | null;
  /** Device and inode, to tell one file by two names. */
  readonly fileId: string;
}

export type Inspection =
  | { readonly at: "absent" }
  | { readonly at: "viable"; readonly executable: Executable }
  | { readonly at: "rejected"; readonly rejection: Rejection };

/** ELF machines that run on an agent of each architecture; the second is the 32-bit form most kernels also run. */
const RUNNABLE_MACHINES: Readonly<Record<string, readonly number[]>> = {
  x64: [62, 3],
  arm64: [183, 40],
};

const SHEBANG_BYTES_MAX = 256;

/** As many as the kernel follows. */
const LINKS_MAX = 40;

/** `hostArch` is `process.arch` of the agent. A path that cannot be reached because there is nothing there is `absent`, everything else has a reason. */
export function inspectExecutable(path: string, hostArch: string): Inspection {
  let realPath: string | null = null;
  const reject = (code: RejectionCode, reason: string): Inspection => ({
    at: "rejected",
    rejection: { path, real_path: realPath, code, reason: printable(reason, 300) },
  });
  try {
    const link = lstatSync(path, { throwIfNoEntry: false });
    if (link === undefined) return { at: "absent" };
    const stat = link.isSymbolicLink() ? statSync(path, { throwIfNoEntry: false }) : link;
    if (stat === undefined)
      return reject("dangling_link", `links to ${missingTarget(path)}, which is not here`);
    realPath = realpathSync(path);
    if (stat.isDirectory()) return reject("directory", "is a directory");
    if (!stat.isFile()) return reject("not_a_file", "is not a regular file");
    if (!mayExecute(path))
      return reject(
        "not_executable",
        "is not executable by this user, or lies on a file system mounted noexec",
      );

    const facts = readFormat(realPath, hostArch);
    if ("code" in facts) return reject(facts.code, facts.reason);
    return {
      at: "viable",
      executable: { path, realPath, ...facts, fileId: fileId(stat) },
    };
  } catch (error) {
    const code = errorCode(error);
    if (code === "ENOENT" || code === "ENOTDIR") return { at: "absent" };
    if (code === "ELOOP") return reject("symlink_loop", "its symbolic links lead in a circle");
    return reject("unreadable", `cannot be looked at (${code})`);
  }
}

/** The end of a chain of links that leads nowhere. */
function missingTarget(path: string): string {
  let target = path;
  for (let hops = 0; hops < LINKS_MAX; hops++) {
    if (lstatSync(target, { throwIfNoEntry: false })?.isSymbolicLink() !== true) break;
    target = resolve(dirname(target), readlinkSync(target));
  }
  return target;
}

/** Names a file whatever path leads to it. */
export function fileId(stat: { readonly dev: number; readonly ino: number }): string {
  return `${stat.dev}:${stat.ino}`;
}

/** The system's name for an error (`ENOENT`), or `unknown error`. */
export function errorCode(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string"
    ? error.code
    : "unknown error";
}

type Format =
  | Pick<Executable, "format" | "libc" | "arch">
  | { readonly code: RejectionCode; readonly reason: string };

function readFormat(realPath: string, hostArch: string): Format {
  let file: number;
  try {
    file = openSync(realPath, "r");
  } catch {
    return { format: "unread", libc: null, arch: null };
  }
  try {
    const head = readAt(file, 0, ELF_HEAD_BYTES);
    if (head[0] === 0x23 && head[1] === 0x21) return checkShebang(head);
    const elf = parseElfHeader(head);
    if (elf === undefined)
      return { code: "bad_format", reason: "is neither a program (ELF) nor a script (#!)" };
    const runnable = RUNNABLE_MACHINES[hostArch];
    if (runnable !== undefined && !runnable.includes(elf.machine)) {
      return {
        code: "foreign_arch",
        reason: `is a program for ${elf.arch}; this machine is ${hostArch === "x64" ? "x86_64" : "aarch64"}`,
      };
    }
    const loader = elf.loader === null ? null : loaderPath(file, elf.loader);
    if (loader !== null && !isThere(loader))
      return {
        code: "loader_missing",
        reason: `needs the loader ${loader}, which is not in this image`,
      };
    return { format: "elf", libc: libcOfLoader(loader), arch: elf.arch };
  } finally {
    closeSync(file);
  }
}

function checkShebang(head: Uint8Array): Format {
  const text = new TextDecoder().decode(head.subarray(2, SHEBANG_BYTES_MAX));
  const interpreter = /^[ \t]*([^ \t\r\n]+)/.exec(text)?.[1] ?? "";
  if (interpreter.startsWith("/") && !isThere(interpreter)) {
    return {
      code: "script_interpreter_missing",
      reason: `is a script for ${interpreter}, which is not in this image`,
    };
  }
  return { format: "script", libc: null, arch: null };
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

function isThere(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return false;
  }
}

function mayExecute(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
