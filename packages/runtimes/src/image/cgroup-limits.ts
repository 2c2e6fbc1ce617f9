/** Reads the memory and CPU limits of this process's cgroup, v2 or v1. Unreadable files count as no limit; never throws. (A7) */
import type { CgroupLimits } from "../image-report.ts";

/** Returns the text of a small file; undefined when it can't be read. */
export type ReadText = (path: string) => string | undefined;

const MOUNT = "/sys/fs/cgroup";

/** v1 writes "no limit" as the largest multiple of a page below 2^63. */
const V1_UNLIMITED_BYTES = 2 ** 62;

/** The lowest limit of this process's group and of its visible ancestors (most containers see only their own group). */
export function cgroupLimits(readText: ReadText): CgroupLimits {
  const groups = parseMembership(readText("/proc/self/cgroup") ?? "");
  const memoryGroup = groups.get("memory");
  const cpuGroup = groups.get("cpu");
  if (memoryGroup !== undefined || cpuGroup !== undefined) {
    return {
      version: 1,
      memory_max_bytes: least(
        groupAndAbove(memoryGroup).map((group) =>
          v1Memory(readText(`${MOUNT}/memory${group}/memory.limit_in_bytes`)),
        ),
      ),
      cpu_max_cores: least(
        groupAndAbove(cpuGroup).map((group) => {
          const dir =
            ["cpu", "cpu,cpuacct"].find(
              (name) => readText(`${MOUNT}/${name}${group}/cpu.cfs_period_us`) !== undefined,
            ) ?? "cpu";
          return cores(
            readText(`${MOUNT}/${dir}${group}/cpu.cfs_quota_us`),
            readText(`${MOUNT}/${dir}${group}/cpu.cfs_period_us`),
          );
        }),
      ),
    };
  }
  const group = groups.get("");
  if (group === undefined) return { version: null, memory_max_bytes: null, cpu_max_cores: null };
  const paths = groupAndAbove(group);
  return {
    version: 2,
    memory_max_bytes: least(paths.map((path) => positive(readText(`${MOUNT}${path}/memory.max`)))),
    cpu_max_cores: least(
      paths.map((path) => {
        const [quota, period] = (readText(`${MOUNT}${path}/cpu.max`) ?? "").trim().split(" ");
        return cores(quota, period);
      }),
    ),
  };
}

/** Controller → group of this process; the v2 hierarchy has the controller name "". */
function parseMembership(text: string): Map<string, string> {
  const groups = new Map<string, string>();
  for (const line of text.split("\n")) {
    const parts = /^\d+:([^:]*):(\/.*)$/.exec(line);
    if (parts === null) continue;
    for (const controller of (parts[1] ?? "").split(",")) groups.set(controller, parts[2] ?? "/");
  }
  return groups;
}

/** `/a/b` → `/a/b`, `/a`, ``. A group outside the cgroup namespace (`/../x`) counts as the root. */
function groupAndAbove(group: string | undefined): string[] {
  const names =
    group === undefined || group.includes("..")
      ? []
      : group.split("/").filter((name) => name !== "");
  const paths = names.map((_, index) => `/${names.slice(0, names.length - index).join("/")}`);
  return [...paths, ""];
}

function v1Memory(text: string | undefined): number | null {
  const bytes = positive(text);
  return bytes === null || bytes >= V1_UNLIMITED_BYTES ? null : bytes;
}

function cores(quota: string | undefined, period: string | undefined): number | null {
  const quotaUs = positive(quota);
  const periodUs = positive(period);
  return quotaUs === null || periodUs === null
    ? null
    : Math.round((quotaUs / periodUs) * 1000) / 1000;
}

/** Null for `max`, `-1`, blank and malformed text. */
function positive(text: string | undefined): number | null {
  const number = Number((text ?? "").trim() || "NaN");
  return Number.isFinite(number) && number > 0 ? number : null;
}

function least(limits: readonly (number | null)[]): number | null {
  const set = limits.filter((limit) => limit !== null);
  return set.length === 0 ? null : Math.min(...set);
}
