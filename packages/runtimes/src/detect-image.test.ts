import { expect, test } from "bun:test";
import { copyFileSync, chmodSync, linkSync } from "node:fs";
import {
  detectedRuntimes,
  detectImage,
  type DetectOptions,
  PROBE_TIMEOUT_MS,
} from "./detect-image.ts";
import type { ImageReport, InterpreterReport } from "./image-report.ts";
import { type ProbeCommand, spawnProbe } from "./probe/run-probe.ts";
import { makeElf, makeTestClock, makeTestImage, type TestImage } from "./test-image.ts";

/** Detects in `bin` and `bin2` of a test image only. */
function detect(image: TestImage, options: Partial<DetectOptions> = {}): Promise<ImageReport> {
  return detectImage({
    env: { PATH: `${image.dir}/bin:${image.dir}/bin2`, ...options.env },
    clock: makeTestClock(),
    pathOnly: true,
    ...options,
  });
}

function named(report: ImageReport, name: string): InterpreterReport | undefined {
  return report.interpreters.find((interpreter) => interpreter.name === name);
}

test("A4: each interpreter is reported with its version and kind, the others as absent", async () => {
  using image = makeTestImage();
  image.script("bin/python3", "echo Python 3.12.1");
  image.script("bin/node", "echo v20.11.0");
  image.script(
    "bin/java",
    `echo 'openjdk version "17.0.15" 2025-04-15' >&2; echo 'OpenJDK Runtime Environment' >&2`,
  );
  image.script("bin/lua5.4", "echo 'Lua 5.4.6  Copyright (C) 1994-2023 Lua.org, PUC-Rio'");
  const report = await detect(image);
  expect(detectedRuntimes(report)).toEqual(["python", "node", "java", "lua"]);
  expect(named(report, "python")).toEqual({
    verdict: "ok",
    name: "python",
    path: `${image.dir}/bin/python3`,
    real_path: `${image.dir}/bin/python3`,
    version: "3.12.1",
    semver: "3.12.1",
    implementation: "cpython",
    vendor: null,
    kind: null,
    libc: null,
    arch: null,
    via: null,
    note: null,
    probe_ms: 0,
    also: [],
    rejected: [],
  });
  expect(named(report, "java")).toMatchObject({ version: "17.0.15", implementation: "openjdk" });
  expect(report.absent).toContain("ruby");
  expect(report.schema).toBe(1);
});

test("A4: the outputs of the common implementations are recognised", async () => {
  const outputs: readonly (readonly [
    program: string,
    says: string,
    version: string,
    implementation: string,
  ])[] = [
    ["python3", "Python 3.9.18 (a1b2, Aug 2023)\n[PyPy 7.3.13 with GCC 10.2.1]", "3.9.18", "pypy"],
    ["python3", "GraalPy 3.10.8 (Oracle GraalVM Native 23.1.0)", "3.10.8", "graalpy"],
    ["python3", "Python 3.13.0rc1", "3.13.0rc1", "cpython"],
    [
      "ruby",
      "ruby 3.1.2p20 (2022-04-12 revision 4491bb740a) [x86_64-linux-gnu]",
      "3.1.2p20",
      "mri",
    ],
    ["ruby", "jruby 9.4.5.0 (3.1.4) 2023-11-02 1abae2700f OpenJDK", "3.1.4", "jruby"],
    [
      "ruby",
      "truffleruby 23.1.0, like ruby 3.2.2, Oracle GraalVM Native [x86_64-linux]",
      "3.2.2",
      "truffleruby",
    ],
    ["go", "go version go1.22.1 linux/amd64", "1.22.1", "gc"],
    ["java", 'java version "1.8.0_392"\nJava(TM) SE Runtime Environment', "1.8.0_392", "oracle"],
    ["java", 'openjdk version "21.0.1" 2023-10-17\nEclipse OpenJ9 VM', "21.0.1", "openj9"],
    ["Rscript", "Rscript (R) version 4.3.1 (2023-06-16)", "4.3.1", "gnu-r"],
    [
      "R",
      'R version 4.2.2 Patched (2022-11-10 r83330) -- "Innocent and Trusting"',
      "4.2.2",
      "gnu-r",
    ],
    [
      "perl",
      "\nThis is perl 5, version 36, subversion 0 (v5.36.0) built for x86_64-linux-gnu-thread-multi",
      "5.36.0",
      "perl5",
    ],
    ["php", "PHP 8.2.7 (cli) (built: Jun  9 2023 19:37:27) (NTS)", "8.2.7", "php"],
    ["luajit", "LuaJIT 2.1.0-beta3 -- Copyright (C) 2005-2022 Mike Pall.", "2.1.0-beta3", "luajit"],
    ["deno", "deno 1.40.2 (release, x86_64-unknown-linux-gnu)\nv8 12.1.285.6", "1.40.2", "deno"],
    ["bun", "1.1.3", "1.1.3", "bun"],
    [
      "dotnet",
      "Microsoft.AspNetCore.App 8.0.1 [/usr/share/dotnet/shared/Microsoft.AspNetCore.App]\nMicrosoft.NETCore.App 6.0.26 [/x]\nMicrosoft.NETCore.App 8.0.1 [/x]",
      "8.0.1",
      "coreclr",
    ],
    [
      "elixir",
      "Erlang/OTP 25 [erts-13.1.5] [source] [64-bit]\n\nElixir 1.14.0 (compiled with Erlang/OTP 24)",
      "1.14.0",
      "beam",
    ],
    ["pwsh", "PowerShell 7.4.1", "7.4.1", "powershell"],
  ];
  for (const [program, says, version, implementation] of outputs) {
    using image = makeTestImage();
    image.script(`bin/${program}`, `/bin/cat <<'END'\n${says}\nEND`);
    const [only] = (await detect(image)).interpreters;
    expect(only).toMatchObject({ verdict: "ok", version, implementation });
  }
});

test("A4: an interpreter that hangs, crashes, floods, fails or prints no version is broken with a reason, and the others are found", async () => {
  using image = makeTestImage();
  const clock = makeTestClock();
  image.script("bin/python3", "exec /bin/sleep 1000");
  image.script("bin/node", "kill -SEGV $$");
  image.script("bin/ruby", "exec /usr/bin/head -c 1048576 /dev/zero");
  image.script("bin/php", "echo no such thing >&2; exit 3");
  image.script("bin/lua", "echo meow");
  image.script("bin/perl", "echo 'This is perl 5, version 36, subversion 0 (v5.36.0) built for x'");
  // Time passes once the other five have ended.
  let waiting = 5;
  const report = await detect(image, {
    probesMax: 16,
    clock: {
      nowMs: () => 0,
      monotonicMs: () => 0,
      after(delayMs, fn) {
        const timer = clock.after(delayMs, fn);
        return {
          cancel() {
            timer.cancel();
            if (delayMs === PROBE_TIMEOUT_MS && --waiting === 0) clock.fire();
          },
        };
      },
    },
  });
  expect(detectedRuntimes(report)).toEqual(["perl"]);
  const codes = report.interpreters.map(({ name, rejected }) => [
    name,
    ...rejected.map(({ code }) => code),
  ]);
  expect(codes).toEqual([
    ["python", "timeout"],
    ["node", "crashed"],
    ["ruby", "flood"],
    ["perl"],
    ["php", "failed"],
    ["lua", "no_version"],
  ]);
  expect(named(report, "lua")?.rejected[0]?.reason).toBe("did not print a lua version, but: meow");
});

test("A4: files that cannot be interpreters are broken with a reason and never run", async () => {
  using image = makeTestImage();
  image.directory("bin");
  image.directory("bin/python3");
  image.link("bin/node", "nodejs");
  image.link("bin/nodejs", "node");
  image.file("bin/ruby", "#!/bin/sh\necho ruby 3.3.0\n");
  image.file("bin/perl", makeElf({ machine: 22, bigEndian: true }), 0o755);
  image.link("bin/php", "/nowhere/php8.2");
  const started: ProbeCommand[] = [];
  const report = await detect(image, {
    spawn(command) {
      started.push(command);
      return spawnProbe(command);
    },
  });
  expect(started).toEqual([]);
  expect(
    report.interpreters.map(({ name, verdict, rejected }) => [name, verdict, rejected[0]?.code]),
  ).toEqual([
    ["python", "broken", "directory"],
    ["node", "broken", "symlink_loop"],
    ["ruby", "broken", "not_executable"],
    ["perl", "broken", "foreign_arch"],
    ["php", "broken", "dangling_link"],
  ]);
});

test("A4: when the first candidate does not work the next one is chosen, and the report lists the rejected one", async () => {
  using image = makeTestImage();
  image.script("bin/python3", "echo 'pyenv: no python3' >&2; exit 127");
  image.script("bin2/python3", "echo Python 3.11.2");
  image.script("bin2/python", "echo Python 2.7.18");
  const rejected0 = `${image.dir}/bin/python3`;
  expect(named(await detect(image), "python")).toMatchObject({
    verdict: "ok",
    path: `${image.dir}/bin2/python3`,
    version: "3.11.2",
    rejected: [
      {
        path: rejected0,
        real_path: rejected0,
        code: "failed",
        reason: "exited with 127 when asked for its version: pyenv: no python3",
      },
    ],
  });
});

test("A4: other versions of a language are listed after the one on PATH, newest first", async () => {
  using image = makeTestImage();
  image.script("bin/python3", "echo Python 3.11.2");
  image.script("bin/python2", "echo Python 2.7.18");
  image.script("bin/python3.9", "echo Python 3.9.1");
  image.script("bin2/python3.13", "echo Python 3.13.0");
  image.link("bin2/python3", "python3.13");
  image.script("bin2/python3-config", "echo never run; exit 1");
  const python = named(await detect(image), "python");
  expect(python).toMatchObject({ version: "3.11.2", path: `${image.dir}/bin/python3` });
  expect(
    python?.verdict === "ok" && python.also.map(({ path, version }) => [path, version]),
  ).toEqual([
    [`${image.dir}/bin2/python3`, "3.13.0"],
    [`${image.dir}/bin/python3.9`, "3.9.1"],
    [`${image.dir}/bin/python2`, "2.7.18"],
  ]);
});

test("A4: a version command gets PATH, HOME and the C locale, and nothing else of the image's environment", async () => {
  using image = makeTestImage();
  image.script("bin/python3", "echo Python 3.11.2");
  const commands: ProbeCommand[] = [];
  const path = `${image.dir}/bin`;
  await detect(image, {
    env: { PATH: path, FLEET_ENROLL_TOKEN: "secret", LD_PRELOAD: "/x.so", PYTHONHOME: "/x" },
    spawn(command) {
      commands.push(command);
      return spawnProbe(command);
    },
  });
  expect(commands).toEqual([
    {
      path: `${path}/python3`,
      args: ["--version"],
      env: { PATH: path, HOME: "/nonexistent", LANG: "C", LC_ALL: "C" },
    },
  ]);
});

test("A4: the agent is never taken for bun, under any name", async () => {
  using image = makeTestImage();
  const self = image.script("opt/fleet-agent", "echo 1.4.5");
  image.link("bin/bun", self);
  expect((await detect(image, { selfPath: self })).absent).toContain("bun");

  image.script("bin2/bun", "echo 1.1.0");
  expect(named(await detect(image, { selfPath: self }), "bun")).toMatchObject({
    version: "1.1.0",
    rejected: [],
  });

  using linked = makeTestImage();
  linked.directory("bin");
  const file = linked.script("agent", "echo 1.4.5");
  linkSync(file, `${linked.dir}/bin/bun`);
  expect((await detect(linked, { selfPath: file })).absent).toContain("bun");
  linked.link("bin2/bun", process.execPath);
  expect((await detect(linked, { selfPath: file })).absent).toContain("bun");
});

test("A4: no more version commands run at a time than allowed, and the slow ones start first", async () => {
  using image = makeTestImage();
  image.script("bin/python3", "echo Python 3.11.2");
  image.script("bin/perl", "echo x");
  image.script("bin/elixir", "echo Elixir 1.14.0");
  image.script("bin/node", "echo v20.0.0");
  let running = 0;
  let most = 0;
  const order: string[] = [];
  await detect(image, {
    probesMax: 2,
    spawn(command) {
      running++;
      most = Math.max(most, running);
      order.push(command.path.slice(command.path.lastIndexOf("/") + 1));
      const child = spawnProbe(command);
      void child.exited.then(() => running--);
      return child;
    },
  });
  expect(most).toBe(2);
  expect(order.slice(0, 2)).toEqual(["elixir", "node"]);
});

test("A4: the config can add an interpreter and replace a built-in one; an invalid pattern is reported", async () => {
  using image = makeTestImage();
  image.script("bin/julia", "echo julia version 1.10.0");
  image.script("bin/mylua", "echo 9.9");
  image.script("bin/lua", "echo Lua 5.4.6");
  image.script("bin/odd", "echo 1.0");
  const report = await detect(image, {
    interpreters: [
      {
        name: "julia",
        candidates: ["julia"],
        version_args: ["--version"],
        pattern: String.raw`version (\S+)`,
      },
      { name: "lua", candidates: [`${image.dir}/bin/mylua`] },
      { name: "odd", candidates: ["odd"], pattern: "(" },
    ],
  });
  expect(named(report, "julia")).toMatchObject({
    verdict: "ok",
    version: "1.10.0",
    semver: "1.10.0",
  });
  expect(named(report, "lua")).toMatchObject({ verdict: "ok", version: "9.9", semver: "9.9.0" });
  expect(named(report, "odd")).toMatchObject({
    verdict: "broken",
    rejected: [{ code: "bad_pattern" }],
  });
});

test("A4: shells are identified by their version output, or else by their file", async () => {
  using image = makeTestImage();
  image.link("bin/sh", "/bin/bash");
  const bash = named(await detect(image), "shell");
  expect(bash).toMatchObject({
    verdict: "ok",
    implementation: "bash",
    path: `${image.dir}/bin/sh`,
  });
  expect(bash?.verdict === "ok" && bash.version).toMatch(/^\d+\.\d+/);
  expect(bash?.verdict === "ok" && bash.real_path).toEndWith("/bash");

  // Every busybox applet is a link or hard link; a copy of the shell with busybox's banner stands for it here.
  using busybox = makeTestImage();
  busybox.directory("bin");
  copyFileSync("/bin/sh", `${busybox.dir}/bin/busybox`);
  chmodSync(`${busybox.dir}/bin/busybox`, 0o755);
  const contents = Buffer.from(await Bun.file(`${busybox.dir}/bin/busybox`).arrayBuffer());
  busybox.file(
    "bin/busybox",
    Buffer.concat([contents, Buffer.from("\0BusyBox v1.36.1 (2023-11-07)\0")]),
    0o755,
  );
  linkSync(`${busybox.dir}/bin/busybox`, `${busybox.dir}/bin/sh`);
  expect(named(await detect(busybox), "shell")).toMatchObject({
    path: `${busybox.dir}/bin/sh`,
    implementation: "busybox",
    version: "1.36.1",
  });
});

test("A4: an empty image has a report too", async () => {
  using image = makeTestImage();
  const report = await detect(image);
  expect(report.interpreters).toEqual([]);
  expect(report.package_managers).toEqual([]);
  expect(report.environments).toEqual([]);
  expect(report.image.kernel).not.toBe("");
  expect(report.image.path).toBe(`${image.dir}/bin:${image.dir}/bin2`);
});

test("A4: an image without PATH is searched in the default directories", async () => {
  const report = await detectImage({ env: {}, clock: makeTestClock() });
  expect(report.image.path).toBe("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
  expect(detectedRuntimes(report)).toContain("shell");
});

test("A4: relative entries of PATH are not searched", async () => {
  using image = makeTestImage();
  image.script("bin/python3", "echo Python 3.11.2");
  const relative = `.:${process.cwd().replaceAll(/[^/]+/g, "..").slice(1)}${image.dir}/bin`;
  expect((await detect(image, { env: { PATH: `${relative}::` } })).interpreters).toEqual([]);
});

test("A4: package managers are listed and not run", async () => {
  using image = makeTestImage();
  image.script("bin/apk", "exit 1");
  image.script("bin2/pip3", "exit 1");
  image.file("bin/npm", "not executable");
  expect((await detect(image)).package_managers).toEqual([
    { name: "apk", path: `${image.dir}/bin/apk`, version: null },
    { name: "pip", path: `${image.dir}/bin2/pip3`, version: null },
  ]);
});
