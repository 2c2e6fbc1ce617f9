/** Replaces a file so that a reader, or the next start after a crash, finds either the old content or the new, never a part. */
import {
  closeSync,
  constants,
  fsyncSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";

const FILE_MODE = 0o600;

/** `mode` is 0600 by default. Without `isSynced` the content may be lost in a power loss, but not in the end of the process. */
export interface AtomicWriteOptions {
  readonly mode?: number;
  readonly isSynced?: boolean;
}

/** Writes `<path>.tmp` with `content`, syncs it and renames it to `path`. Throws system errors; the temporary file is then removed. */
export function writeFileAtomically(
  path: string,
  content: string | Uint8Array,
  { mode = FILE_MODE, isSynced = true }: AtomicWriteOptions = {},
): void {
  const temporary = `${path}.tmp`;
  try {
    // A new file, so that a link left under this name is not followed and old permissions do not remain.
    rmSync(temporary, { force: true });
    const fd = openSync(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, mode);
    try {
      writeFileSync(fd, content);
      if (isSynced) fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
  if (isSynced) syncDirectory(dirname(path));
}

/** Makes the names in a directory survive a power loss. */
export function syncDirectory(path: string): void {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
