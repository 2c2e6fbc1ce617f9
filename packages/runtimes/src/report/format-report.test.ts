import { expect, test } from "bun:test";
import { formatReport } from "./format-report.ts";
import type { ImageReport } from "../image-report.ts";

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
      also: [
        {
          path: "/data/.pyenv/versions/3.13.1/bin/python3",
          real_path: "/data/.pyenv/versions/3.13.1/bin/python3.13",
          version: "3.13.1",
          semver: "3.13.1",
          implementation: "cpython",
          vendor: null,
          kind: null,
          libc: "glibc",
          arch: "x86_64",
          via: "pyenv shim /data/.pyenv/shims/python3",
          note: null,
          probe_ms: null,
        },
      ],
      rejected: [
        {
          path: "/opt/bin/python3",
          real_path: null,
          code: "dangling_link",
          reason: "links to /x, which does not exist",
        },
      ],
    },
    {
      verdict: "ok",
      name: "java",
      path: "/usr/bin/java",
      real_path: "/usr/lib/jvm/17/bin/java",
      version: "17.0.15",
      semver: "17.0.15",
      implementation: "openjdk",
      vendor: "Debian",
      kind: "jdk",
      libc: "glibc",
      arch: "x86_64",
      via: null,
      note: "works only with LD_LIBRARY_PATH",
      probe_ms: 24,
      also: [],
      rejected: [],
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
  package_managers: [{ name: "apt", path: "/usr/bin/apt-get", version: "2.6.1" }],
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

test("A7: a report is a table of versions, verdicts and reasons, followed by environments and the image", () => {
  expect(formatReport(report)).toBe(
    `${[
      "RUNTIME  VERDICT   VERSION  KIND         LIBC   PATH",
      "python   ok        3.11.2   cpython      glibc  /usr/bin/python3 -> python3.11",
      "         also      3.13.1   cpython      glibc  /data/.pyenv/versions/3.13.1/bin/python3 -> python3.13",
      "                                                  through pyenv shim /data/.pyenv/shims/python3",
      "         rejected                               /opt/bin/python3 links to /x, which does not exist",
      "java     ok        17.0.15  openjdk jdk  glibc  /usr/bin/java -> /usr/lib/jvm/17/bin/java (Debian)",
      "                                                  works only with LD_LIBRARY_PATH",
      "node     broken                                 /usr/bin/node did not answer within 2000 ms",
      "not found: ruby, go",
      "",
      "ENVIRONMENT  VERDICT  VERSION  INTERPRETER",
      "radar        broken   -        has no bin/python3 or bin/python",
      "",
      "image        Debian GNU/Linux 12 (bookworm)",
      "system       glibc 2.36, x86_64, kernel 6.1.0",
      "limits       memory 512 MiB, cpu 1.5 cores (cgroup v2)",
      "user         uid 0, gid 0",
      "packages     apt 2.6.1",
      "search path  /usr/bin:/bin",
      "",
      "Detected in 31.4 ms.",
    ].join("\n")}\n`,
  );
});

test("A7: a cached report states the time of detection, and a long search path takes several rows", () => {
  const path = Array.from({ length: 12 }, (_, index) => `/opt/some/tool-${index}/bin`).join(":");
  const text = formatReport({ ...report, cached: true, image: { ...report.image, path } });
  expect(text).toContain(
    "Detected 2026-07-08T08:40:00.000Z; nothing has changed since (checked in 31.4 ms).",
  );
  expect(Math.max(...text.split("\n").map((line) => line.length))).toBeLessThan(120);
  expect(text.replaceAll(/\s/g, "")).toContain(path);
});

test("an empty image is described in words", () => {
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

test("A7: a file name cannot control the terminal", () => {
  const interpreters = report.interpreters.map((one) => ({ ...one, path: "/x/\u001b[2Jpy\n" }));
  expect(formatReport({ ...report, interpreters })).toContain("/x/ [2Jpy -> /usr/bin/python3.11");
});
