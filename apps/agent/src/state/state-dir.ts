/**
 * Finds the state directory, which keeps what must outlive the agent: `--state-dir`, else FLEET_STATE_DIR, else
 * `/var/lib/fleet-agent` if it is writable. Without one the agent keeps its state in memory. (A14)
 */
import { accessSync, constants, mkdirSync, statSync } from "node:fs";

/** The default. The agent never creates it, because in a container it would only look persistent. */
export const DEFAULT_STATE_DIR = "/var/lib/fleet-agent";

/** A directory that can be written, or why there is none. */
export type StateDir =
  | { readonly at: "writable"; readonly path: string }
  | { readonly at: "none"; readonly reason: string };

/** Opens the explicit directory, which is created if missing, or else the default one. */
export function openStateDir(
  explicit: string | undefined,
  byDefault = DEFAULT_STATE_DIR,
): StateDir {
  const path = explicit ?? byDefault;
  try {
    if (explicit !== undefined) mkdirSync(path, { recursive: true, mode: 0o700 });
    accessSync(path, constants.W_OK | constants.X_OK);
    if (!statSync(path).isDirectory()) return { at: "none", reason: `${path} is not a directory` };
    return { at: "writable", path };
  } catch (error) {
    return { at: "none", reason: reasonOf(path, error as NodeJS.ErrnoException) };
  }
}

function reasonOf(path: string, error: NodeJS.ErrnoException): string {
  if (error.code === "EROFS") return `${path} is on a read-only file system`;
  let owner: number;
  try {
    owner = statSync(path).uid;
  } catch {
    return `${path} can't be used: ${error.code ?? error.message}`;
  }
  if (error.code === "EEXIST" || error.code === "ENOTDIR") return `${path} is not a directory`;
  return `${path} belongs to uid ${owner} and can't be written by uid ${process.getuid?.() ?? -1}`;
}
