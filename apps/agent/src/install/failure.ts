/** How `fleet-agent install` can fail: a code for programs, one line for people, and an exit code of its own for each. (A2) */

/** What was in the way; `exit` ends the process, `meaning` is its line in `--help`. From 80 on they are ours, below sysexits'. */
export const FAILURES = {
  no_directory: { exit: 66, meaning: "DIR is missing or not a directory" },
  misbehaved: { exit: 70, meaning: "the copy did not run as it should" },
  target_is_directory: { exit: 73, meaning: "DIR/fleet-agent is a directory" },
  io: { exit: 74, meaning: "reading or writing failed" },
  permission: { exit: 77, meaning: "DIR may not be written" },
  read_only: { exit: 80, meaning: "DIR is on a read-only file system" },
  no_space: { exit: 81, meaning: "no space, over quota, or over the file size limit" },
  noexec: { exit: 82, meaning: "programs can't be run from DIR (mounted noexec, or by policy)" },
  wrong_arch: { exit: 83, meaning: "this program is for another processor" },
  old_cpu: { exit: 84, meaning: "the processor lacks instructions this program needs" },
  corrupted: { exit: 85, meaning: "the copy reads back different" },
} as const;

/** Which failure. */
export type FailureCode = keyof typeof FAILURES;

/** Ends an install. The message is one line, names the place, and says what to do. */
export class InstallError extends Error {
  override readonly name = "InstallError";
  readonly code: FailureCode;

  constructor(code: FailureCode, message: string, cause?: unknown) {
    super(message.replaceAll(/\s+/g, " "), { cause });
    this.code = code;
  }

  get exitCode(): number {
    return FAILURES[this.code].exit;
  }
}

/** What the messages tell of the place; gathered only once something has failed. */
export interface Place {
  readonly dir: string;
  /** Bytes the copy needs, and bytes that are free for us. */
  readonly neededBytes: number;
  readonly freeBytes: number | undefined;
  /** What may not be written, whose it is, and who we are. */
  readonly owner:
    | { readonly path: string; readonly uid: number; readonly mode: number }
    | undefined;
  readonly ourUid: number;
}

/** The failure that an operation's errno stands for. */
export function failureOf(error: NodeJS.ErrnoException, place: Place): InstallError {
  const { dir } = place;
  const fail = (code: FailureCode, text: string): InstallError =>
    new InstallError(code, `${dir}${text}`, error);
  switch (error.code) {
    case "ENOENT":
      return fail("no_directory", MISSING);
    case "ENOTDIR":
    case "ELOOP":
    case "ENAMETOOLONG":
      return fail(
        "no_directory",
        " is not a directory; name the directory the volume is mounted at",
      );
    case "EACCES":
    case "EPERM":
      return new InstallError("permission", permissionText(place), error);
    case "EISDIR":
      return fail(
        "target_is_directory",
        "/fleet-agent is a directory; remove it or install elsewhere",
      );
    case "EROFS":
      return fail("read_only", " is on a read-only file system; mount the volume writable here");
    case "ENOSPC":
      return fail(
        "no_space",
        ` has no space: ${mebibytes(place.neededBytes)} are needed, ${place.freeBytes === undefined ? "fewer" : mebibytes(place.freeBytes)} free; make the volume larger or free some (inodes count too)`,
      );
    case "EDQUOT":
      return fail(
        "no_space",
        `: the quota of uid ${place.ourUid} has no room for ${mebibytes(place.neededBytes)}; raise it or free some`,
      );
    case "EFBIG":
      return fail(
        "no_space",
        `: a file of ${mebibytes(place.neededBytes)} is over the limit; raise it (ulimit -f) or use another file system`,
      );
    case undefined:
    default:
      return fail("io", `: ${error.message}; see the kernel's log, or use another volume`);
  }
}

const MISSING =
  " does not exist and is not made here, where no other container would see it; mount the volume there";

function permissionText({ dir, owner, ourUid }: Place): string {
  const advice = "run as its owner, or let the group in (Kubernetes: securityContext.fsGroup)";
  return owner === undefined
    ? `${dir} can't be reached by uid ${ourUid}; ${advice}`
    : `${owner.path} belongs to uid ${owner.uid} (mode 0${owner.mode.toString(8)}) and can't be written by uid ${ourUid}; ${advice}`;
}

function mebibytes(bytes: number): string {
  return `${(bytes / 1024 ** 2).toFixed(1)} MiB`;
}
