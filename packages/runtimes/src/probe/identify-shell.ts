/** Identifies shells without a version option (dash, busybox) by their file: its name, its hard links, its contents. (A4) */
import { statSync } from "node:fs";
import { type Executable, fileId } from "../inspect/inspect-executable.ts";
import { textAfter } from "../inspect/text-in-file.ts";

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

/** Identifies a shell that has already been run. A field is null when the file does not reveal it. */
export function identifyShell(executable: Executable): ShellIdentity {
  const implementation = byName(executable.realPath) ?? byHardLink(executable);
  if (implementation === "busybox")
    return { implementation, version: busyboxVersion(executable.realPath) };
  if (implementation !== null && implementation !== "ash") return { implementation, version: null };
  const version = busyboxVersion(executable.realPath);
  return version === null ? { implementation, version } : { implementation: "busybox", version };
}

/** Identifies a shell without running it; null when only its output reveals the version. */
export function shellFromFile(executable: Executable): ShellIdentity | null {
  const known = identifyShell(executable);
  if (known.implementation === "bash") {
    const banner = textAfter(executable.realPath, "@(#)Bash version ", 16);
    const version = /^\d+\.\d+\.\d+/.exec(banner ?? "")?.[0];
    return version === undefined ? null : { ...known, version };
  }
  return known.implementation === "dash" || known.version !== null ? known : null;
}

function byName(realPath: string): string | null {
  const name = realPath.slice(realPath.lastIndexOf("/") + 1);
  return (
    SHELLS.find(
      (shell) => name === shell || name.startsWith(`${shell}.`) || name.startsWith(`${shell}-`),
    ) ?? null
  );
}

/** In some images every busybox applet is a hard link to the same file. */
function byHardLink({ realPath, fileId: id }: Executable): string | null {
  const dir = realPath.slice(0, realPath.lastIndexOf("/"));
  const isSame = (shell: string): boolean => {
    try {
      const stat = statSync(`${dir}/${shell}`, { bigint: true, throwIfNoEntry: false });
      return stat !== undefined && fileId(stat) === id;
    } catch {
      return false;
    }
  };
  return SHELLS.find(isSame) ?? null;
}

function busyboxVersion(realPath: string): string | null {
  const text = textAfter(realPath, "BusyBox v", 24);
  return /^\d+(?:\.\d+)*/.exec(text ?? "")?.[0] ?? null;
}
