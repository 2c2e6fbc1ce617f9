/** Tells shells apart that have no version option (dash, busybox) by their file: its name, its other names, its contents. (A4) */
import { closeSync, openSync, readSync, statSync } from "node:fs";
import { fileId } from "./inspect-executable.ts";
import type { Executable } from "./inspect-executable.ts";

export interface ShellIdentity {
  readonly implementation: string | null;
  readonly version: string | null;
}

const SHELLS: readonly string[] = [
  "dash",
  "bash",
  "busybox",
  "toybox",
  "ash",
  "mksh",
  "ksh",
  "zsh",
  "yash",
];

/** Larger files are not searched for busybox's banner; busybox itself is 1 to 2 MB. */
const SEARCH_BYTES_MAX = 4 * 1024 * 1024;

/** Looks at the file only; the shell was run before by its probe, which shows that it works. Nulls where nothing tells. */
export function identifyShell(executable: Executable): ShellIdentity {
  const banner = (): string | null => busyboxVersion(executable);
  const implementation = byName(executable.realPath) ?? byHardLink(executable);
  if (implementation === "busybox") return { implementation, version: banner() };
  if (implementation !== null && implementation !== "ash") return { implementation, version: null };
  const version = banner();
  return version === null ? { implementation, version } : { implementation: "busybox", version };
}

function byName(realPath: string): string | null {
  const name = realPath.slice(realPath.lastIndexOf("/") + 1);
  return (
    SHELLS.find(
      (shell) => name === shell || name.startsWith(`${shell}.`) || name.startsWith(`${shell}-`),
    ) ?? null
  );
}

/** In some images every applet is one more hard link to the same file. */
function byHardLink({ realPath, fileId: id }: Executable): string | null {
  const dir = realPath.slice(0, realPath.lastIndexOf("/"));
  const isSame = (shell: string): boolean => {
    try {
      const stat = statSync(`${dir}/${shell}`, { throwIfNoEntry: false });
      return stat !== undefined && fileId(stat) === id;
    } catch {
      return false;
    }
  };
  return SHELLS.find(isSame) ?? null;
}

function busyboxVersion({ realPath, sizeBytes }: Executable): string | null {
  if (sizeBytes > SEARCH_BYTES_MAX) return null;
  const contents = readWhole(realPath, sizeBytes);
  const at = contents.indexOf("BusyBox v");
  if (at === -1) return null;
  return /^BusyBox v(\d+(?:\.\d+)*)/.exec(contents.toString("latin1", at, at + 32))?.[1] ?? null;
}

function readWhole(path: string, sizeBytes: number): Buffer {
  try {
    const file = openSync(path, "r");
    try {
      const contents = Buffer.allocUnsafe(sizeBytes);
      return contents.subarray(0, readSync(file, contents, 0, sizeBytes, 0));
    } finally {
      closeSync(file);
    }
  } catch {
    return Buffer.alloc(0);
  }
}
