/** Explains why a path can't be used, with its owner and our uid, since one of these usually has to be changed. */
import { statSync } from "node:fs";
import { dirname } from "node:path";

/** A sentence that starts with `path` and says why it can't be created or written, given the error of the file system. */
export function fileProblem(path: string, error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  switch (code) {
    case "ENOENT":
      return `${path} does not exist`;
    case "ENOTDIR":
    case "EEXIST":
      return `${path} is not a directory`;
    case "EROFS":
      return `${path} is on a read-only file system`;
    case "ENOSPC":
    case "EDQUOT":
      return `${path} has no space left`;
    case "EACCES":
    case "EPERM":
      return `${path} can't be written by uid ${process.getuid?.() ?? "?"}${ownership(path)}`;
    case undefined:
    default:
      return `${path} can't be used: ${message}`;
  }
}

/** Owner and mode of the path, or of the nearest existing directory above it. */
function ownership(path: string): string {
  for (let at = path; ; at = dirname(at)) {
    try {
      const { uid, mode } = statSync(at);
      return `: ${at} belongs to uid ${uid} (mode 0${(mode & 0o7777).toString(8)})`;
    } catch {
      if (dirname(at) === at) return "";
    }
  }
}
