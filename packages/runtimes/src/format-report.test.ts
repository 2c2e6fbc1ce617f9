import { expect, test } from "bun:test";
import { formatReport } from "./format-report.ts";
import type { ImageReport } from "./image-report.ts";

const report: ImageReport = {
  schema: 1,
  took_ms: 31.4,
  cached: false,
  looked_at_ms: 1_783_500_000_000,
  evidence: {},
  interpreters: [
    {
      verdict: "ok",
      name: "python",
      path: "/usr/bin/python3",
      real_path: "/usr/bin/python3.11",
      version: "3.11.2",
      semver: "3.11.2",
      implementation: "cpython",
      vendor: null,
      kind: null,
      libc: "glibc",
      arch: "x86_64",
      via: null,
      note: null,
      probe_ms: 2.1,
      also: [],
      rejected: [
        {
          path: "/opt/bin/python3",
          real_path: null,
          code: "dangling_link",
          reason: "links to /x, which is not here",
        },
      ],
    },
    {
      verdict: "broken",
      name: "node",
      rejected: [
        {
          path: "/usr/bin/node",
          real_path: "/usr/bin/node",
          code: "timeout",
          reason: "did not answer within 2000 ms",
        },
      ],
    },
  ],
  absent: ["ruby", "go"],
  package_managers: [{ name: "apt", path: "/usr/bin/apt-get", version: null }],
  environments: [
    {
      name: "radar",
      path: "/envs/radar",
      verdict: "broken",
      kind: "venv",
      interpreter: null,
      real_path: null,
      version: null,
      semver: null,
      note: null,
      reason: "has no bin/python3 or bin/python",
    },
  ],
  image: {
    os: { id: "debian", version: "12", pretty_name: "Debian GNU/Linux 12 (bookworm)" },
    kernel: "6.1.0",
    arch: "x86_64",
    libc: { family: "glibc", version: "2.36" },
    cgroup: { version: 2, memory_max_bytes: 512 * 1024 * 1024, cpu_max_cores: 1.5 },
    uid: 0,
    gid: 0,
    path: "/usr/bin:/bin",
  },
};

test("a report is a table with verdicts and reasons, then the image", () => {
  expect(formatReport(report)).toBe(
    `${[
      "RUNTIME  VERDICT  VERSION  KIND     LIBC   PATH",
      "python   ok       3.11.2   cpython  glibc  /usr/bin/python3 -> /usr/bin/python3.11",
      "         passed   -        -        -      /opt/bin/python3 links to /x, which is not here",
      "node     broken   -        -        -      /usr/bin/node did not answer within 2000 ms",
      "not here: ruby, go",
      "",
      "image        Debian GNU/Linux 12 (bookworm)",
      "system       glibc 2.36, x86_64, kernel 6.1.0",
      "limits       memory 512 MiB, cpu 1.5 cores (cgroup v2)",
      "user         uid 0, gid 0",
      "search path  /usr/bin:/bin",
      "packages     apt (/usr/bin/apt-get)",
      "",
      "ENVIRONMENT  VERDICT  INTERPRETER",
      "radar        broken   has no bin/python3 or bin/python",
      "",
      "Looked at in 31.4 ms.",
    ].join("\n")}\n`,
  );
});

test("an empty image is told in words", () => {
  const image = { ...report.image, os: null, libc: { family: "none", version: null } } as const;
  const text = formatReport({
    ...report,
    interpreters: [],
    environments: [],
    package_managers: [],
    image,
  });
  expect(text).toContain("No interpreter was found in this image.\n");
  expect(text).toContain("unnamed (no os-release)");
  expect(text).toContain("no C library");
  expect(text).toContain("no package manager");
});

test("a file name cannot draw on the terminal", () => {
  const package_managers = [{ name: "apt", path: "/x/\u001b[2Japt\n", version: null }];
  expect(formatReport({ ...report, package_managers })).toContain("apt (/x/ [2Japt )");
});
