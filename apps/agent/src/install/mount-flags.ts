/** Reads the mount options of the file system of an open file. (A2) */
import { readFileSync } from "node:fs";

/**
 * Whether the mount of an open file or directory forbids running programs; undefined if /proc has no answer. Mounts are found by
 * id, not by path: bind mounts of one file system can differ in their flags, and a chroot changes paths.
 */
export function isNoexec(fd: number): boolean | undefined {
  try {
    const id = mountIdOf(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"));
    return id === undefined
      ? undefined
      : mountOptions(readFileSync("/proc/self/mountinfo", "utf8"), id)?.includes("noexec");
  } catch {
    return undefined;
  }
}

/** The mount id of /proc/PID/fdinfo/FD. */
export function mountIdOf(fdinfo: string): string | undefined {
  return /^mnt_id:\s*(\d+)$/m.exec(fdinfo)?.[1];
}

/** The options of one mount in /proc/PID/mountinfo, proc_pid_mountinfo(5), field 6. */
export function mountOptions(mountinfo: string, id: string): readonly string[] | undefined {
  for (const line of mountinfo.split("\n")) {
    const fields = line.split(" ");
    if (fields[0] === id) return fields[5]?.split(",");
  }
  return undefined;
}
