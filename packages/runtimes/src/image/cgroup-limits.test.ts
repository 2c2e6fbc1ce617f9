import { expect, test } from "bun:test";
import { cgroupLimits } from "./cgroup-limits.ts";

function limitsOf(files: Readonly<Record<string, string>>): ReturnType<typeof cgroupLimits> {
  return cgroupLimits((path) => files[path]);
}

test("cgroup v2 in its own namespace", () => {
  expect(
    limitsOf({
      "/proc/self/cgroup": "0::/\n",
      "/sys/fs/cgroup/memory.max": "536870912\n",
      "/sys/fs/cgroup/cpu.max": "150000 100000\n",
    }),
  ).toEqual({ version: 2, memory_max_bytes: 512 * 1024 * 1024, cpu_max_cores: 1.5 });
});

test("the lowest limit of the group and its ancestors applies", () => {
  expect(
    limitsOf({
      "/proc/self/cgroup": "0::/pod/app\n",
      "/sys/fs/cgroup/pod/app/memory.max": "max\n",
      "/sys/fs/cgroup/pod/memory.max": "1000\n",
      "/sys/fs/cgroup/memory.max": "2000\n",
      "/sys/fs/cgroup/pod/app/cpu.max": "max 100000\n",
    }),
  ).toEqual({ version: 2, memory_max_bytes: 1000, cpu_max_cores: null });
});

test("cgroup v1, which expresses no limit as a huge number or -1", () => {
  const files = {
    "/proc/self/cgroup": "9:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/\n",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
    "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
    "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
  };
  expect(limitsOf(files)).toEqual({ version: 1, memory_max_bytes: null, cpu_max_cores: null });
  const limited = {
    ...files,
    "/sys/fs/cgroup/memory/memory.limit_in_bytes": "268435456\n",
    "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "25000\n",
  };
  expect(limitsOf(limited)).toEqual({
    version: 1,
    memory_max_bytes: 268435456,
    cpu_max_cores: 0.25,
  });
});

test("no cgroup, or malformed files, means no limit", () => {
  expect(limitsOf({})).toEqual({ version: null, memory_max_bytes: null, cpu_max_cores: null });
  expect(
    limitsOf({
      "/proc/self/cgroup": "0::/\n",
      "/sys/fs/cgroup/memory.max": "lots\n",
      "/sys/fs/cgroup/cpu.max": "\n",
    }),
  ).toEqual({
    version: 2,
    memory_max_bytes: null,
    cpu_max_cores: null,
  });
});
