/** The failures of `fleet-agent install`, each with a code for programs, one line for people, and its own exit code. (A2) */

/** `exit` is the exit code, `meaning` its line in `--help`. Codes below 80 are those of sysexits(3), the others our own. */
export const FAILURES = {
  no_directory: { exit: 66, meaning: "DIR is missing or not a directory" },
  misbehaved: { exit: 70, meaning: "the copy did not run correctly" },
  target_is_directory: { exit: 73, meaning: "DIR/fleet-agent is a directory" },
  io: { exit: 74, meaning: "reading or writing failed" },
  permission: { exit: 77, meaning: "no permission to write to DIR" },
  read_only: { exit: 80, meaning: "DIR is on a read-only file system" },
  no_space: { exit: 81, meaning: "no space, over quota, or over the file size limit" },
  noexec: {
    exit: 82,
    meaning: "running programs from DIR is not allowed (noexec mount, or a policy)",
  },
  wrong_arch: { exit: 83, meaning: "this program is for another processor" },
  old_cpu: { exit: 84, meaning: "the processor lacks instructions this program needs" },
  corrupted: { exit: 85, meaning: "the copy differs from the original when read back" },
} as const;

/** The code of a failure. */
export type FailureCode = keyof typeof FAILURES;

/** An install failed. The message is one line with the place, the problem and the remedy. */
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

/** Facts about the directory for the messages; collected only after a failure. */
export interface Place {
  readonly dir: string;
  /** The size of the copy, and the free space available to us. */
  readonly neededBytes: number;
  readonly freeBytes: number | undefined;
  /** The file or directory that may not be written, and its owner. */
  readonly owner:
    | { readonly path: string; readonly uid: number; readonly mode: number }
    | undefined;
  readonly ourUid: number;
}

/** Maps the errno of an operation to a failure. */
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
        ` has no space: ${mebibytes(place.neededBytes)} are needed, ${place.freeBytes === undefined ? "fewer" : mebibytes(place.freeBytes)} free; enlarge the volume or free some space (or inodes)`,
      );
    case "EDQUOT":
      return fail(
        "no_space",
        `: the quota of uid ${place.ourUid} has no room for ${mebibytes(place.neededBytes)}; raise it or free some space`,
      );
    case "EFBIG":
      return fail(
        "no_space",
        `: a file of ${mebibytes(place.neededBytes)} is over the limit; raise it (ulimit -f) or use another file system`,
      );
    case undefined:
    default:
      return fail("io", `: ${error.message}; check the kernel log, or use another volume`);
  }
}

const MISSING =
  " does not exist; mount the volume there (a directory created here would not be shared with other containers)";

function permissionText({ dir, owner, ourUid }: Place): string {
  const advice =
    "run as its owner, or give the group write access (Kubernetes: securityContext.fsGroup)";
  return owner === undefined
    ? `${dir} can't be reached by uid ${ourUid}; ${advice}`
    : `${owner.path} belongs to uid ${owner.uid} (mode 0${owner.mode.toString(8)}) and can't be written by uid ${ourUid}; ${advice}`;
}

function mebibytes(bytes: number): string {
  return `${(bytes / 1024 ** 2).toFixed(1)} MiB`;
}
