/** What to say of a path that can't be used: whose it is and who we are, since that is what has to be changed. */
import { statSync } from "node:fs";
import { dirname } from "node:path";

/** Why `path` can't be made or written, its name first, for what the file system threw. */
export function fileProblem(path: string, error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  switch (code) {
    case "ENOENT":
      return `${path} does not exist`;
    case "ENOTDIR":
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

/** Of the path, or of the directory above it in which it would have to be made. */
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
