import { describe, expect, test } from "bun:test";
import { once } from "node:events";
import { chmodSync, createReadStream, existsSync } from "node:fs";
import { detectImage, type DetectOptions } from "./detect-image.ts";
import type { ImageReport, InterpreterReport, RejectionCode } from "./image-report.ts";
import { spawnProbe } from "./probe/run-probe.ts";
import { makeElf, makeTestClock, makeTestImage, type TestImage } from "./test-image.ts";

/** Detects a misbehaving python in `bin`, next to a node that works. */
async function detect(
  image: TestImage,
  options: Partial<DetectOptions> = {},
): Promise<{ python: InterpreterReport | undefined; report: ImageReport }> {
  image.script("bin/node", "echo v20.1.0");
  const report = await detectImage({
    env: { PATH: `${image.dir}/bin`, ...options.env },
    clock: makeTestClock(),
    pathOnly: true,
    ...options,
  });
  const named = (name: string): InterpreterReport | undefined =>
    report.interpreters.find((interpreter) => interpreter.name === name);
  // The python must not affect other interpreters.
  expect(named("node")).toMatchObject({ verdict: "ok", version: "20.1.0" });
  return { python: named("python"), report };
}

/** A clock on which the time limit of programs selected by `isHanging` expires immediately, and no other. */
function expireTimeoutOf(isHanging: (path: string) => boolean): Partial<DetectOptions> {
  const clock = makeTestClock();
  let isNext = false;
  return {
    probesMax: 1,
    spawn(command) {
      isNext = isHanging(command.path);
      return spawnProbe(command);
    },
    clock: {
      ...clock,
      after(delayMs, fn) {
        const timer = clock.after(delayMs, fn);
        if (isNext) queueMicrotask(fn);
        return timer;
      },
    },
  };
}

const isPython = (path: string): boolean => path.endsWith("/python3");

const MINE = process.arch === "arm64" ? 183 : 62;

const KINDS: readonly (readonly [
  what: string,
  make: (image: TestImage) => void,
  code: RejectionCode,
  reason: string,
])[] = [
  [
    "crashes",
    (image) => image.script("bin/python3", "kill -SEGV $$"),
    "crashed",
    "was killed by SIGSEGV when asked",
  ],
  ["fails", (image) => image.script("bin/python3", "exit 9"), "failed", "exited with 9 when asked"],
  [
    "floods",
    (image) => image.script("bin/python3", "exec /usr/bin/head -c 300000 /dev/zero"),
    "flood",
    "wrote more than 64 KiB",
  ],
  [
    "prints nothing",
    (image) => image.script("bin/python3", ""),
    "no_version",
    "did not print a python version, but: nothing",
  ],
  [
    "prints binary data",
    (image) => image.script("bin/python3", String.raw`printf '\377\376\033[2J\000\r\n\007'`),
    "no_version",
    "did not print a python version, but: ",
  ],
  ["is a directory", (image) => image.directory("bin/python3"), "directory", "is a directory"],
  [
    "is a loop of links",
    (image) => image.link("bin/python3", "python3"),
    "symlink_loop",
    "is a loop of symbolic links",
  ],
  [
    "is a dangling link",
    (image) => image.link("bin/python3", "gone"),
    "dangling_link",
    "links to ",
  ],
  [
    "is a FIFO",
    (image) => {
      image.directory("bin");
      Bun.spawnSync(["mkfifo", `${image.dir}/bin/python3`]);
    },
    "not_a_file",
    "is not a regular file",
  ],
  [
    "is a device",
    (image) => image.link("bin/python3", "/dev/zero"),
    "not_a_file",
    "is not a regular file",
  ],
  [
    "is not executable",
    (image) => image.file("bin/python3", "#!/bin/sh\n"),
    "not_executable",
    "is not executable by this user",
  ],
  [
    "is for another machine",
    (image) => image.file("bin/python3", makeElf({ machine: 22, bigEndian: true }), 0o755),
    "foreign_arch",
    "is a program for s390x",
  ],
  [
    "lacks its loader",
    (image) =>
      image.file("bin/python3", makeElf({ machine: MINE, loader: "/nowhere/ld.so" }), 0o755),
    "loader_missing",
    "needs the loader /nowhere/ld.so",
  ],
  [
    "is a truncated program",
    (image) => image.file("bin/python3", makeElf({ machine: MINE }), 0o755),
    "crashed",
    "",
  ],
  [
    "is a script for a missing interpreter",
    (image) => image.file("bin/python3", "#!/nowhere/sh\n", 0o755),
    "script_interpreter_missing",
    "is a script for /nowhere/sh",
  ],
  [
    "is not a program",
    (image) => image.file("bin/python3", "Python 3.11.2", 0o755),
    "bad_format",
    "is neither a program (ELF) nor a script",
  ],
  [
    "is perl by another name",
    (image) =>
      image.script(
        "bin/python3",
        "echo 'This is perl 5, version 36, subversion 0 (v5.36.0) built for x'",
      ),
    "impostor",
    "is perl, not python: This is perl 5",
  ],
  [
    "is a link to perl",
    (image) => {
      image.script("bin/perl", "exit 1");
      image.link("bin/python3", "perl");
    },
    "impostor",
    "is perl under the name of python",
  ],
  [
    "deletes itself",
    (image) => image.script("bin/python3", '/bin/rm "$0"; echo Python 3.11.2'),
    "vanished",
    "disappeared after it printed its version",
  ],
];

describe("A4: an unusable interpreter is reported with a reason, and the others are found", () => {
  test.each(KINDS)("one that %s", async (_what, make, code, reason) => {
    using image = makeTestImage();
    make(image);
    const { python } = await detect(image);
    // Whether the kernel refuses to start a truncated program or kills it, and by which signal, varies.
    const codes = code === "crashed" && reason === "" ? ["crashed", "spawn_failed"] : [code];
    expect(python?.verdict).toBe("broken");
    expect(codes).toContain(python?.rejected[0]?.code ?? "none");
    expect(python?.rejected[0]?.reason).toStartWith(reason);
    expect(python?.rejected[0]?.reason).toMatch(/^\P{Cc}*$/u);
  });

  test("one that hangs and ignores SIGTERM", async () => {
    using image = makeTestImage();
    image.script("bin/python3", "trap '' TERM INT HUP; while :; do /bin/sleep 1000; done");
    const { python } = await detect(image, expireTimeoutOf(isPython));
    expect(python?.rejected).toMatchObject([
      { code: "timeout", reason: "did not answer within 2000 ms when asked for its version" },
    ]);
  });

  test("the output of one that leaves a daemon behind is used, and the daemon is killed", async () => {
    using image = makeTestImage();
    image.directory("bin");
    const fifo = `${image.dir}/alive`;
    Bun.spawnSync(["mkfifo", fifo]);
    image.script("bin/python3", `exec 9>${fifo}; /bin/sleep 1000 & echo Python 3.11.2`);
    const alive = createReadStream(fifo);
    const over = once(alive.resume(), "end");
    const { python } = await detect(image);
    expect(python).toMatchObject({ verdict: "ok", version: "3.11.2" });
    await over;
  });

  test("one that is replaced during detection is noted, and the result is not cached", async () => {
    using image = makeTestImage();
    image.directory("state");
    image.script(
      "bin/python3",
      'printf "#!/bin/sh\\necho Python 3.99.0\\n" >"$0.new"; /bin/chmod 755 "$0.new"; /bin/mv "$0.new" "$0"; echo Python 3.11.2',
    );
    const cache = { path: `${image.dir}/state/detection.json`, version: "1", fresh: false };
    const clock = { ...makeTestClock(), nowMs: () => 4_000_000_000_000 };
    const { python } = await detect(image, { cache, clock });
    expect(python).toMatchObject({ verdict: "ok", note: "was changed during detection" });
    expect(existsSync(cache.path)).toBe(false);
  });

  test.skipIf(process.getuid?.() === 0)("one that can be run but not read is run", async () => {
    using image = makeTestImage();
    chmodSync(image.script("bin/python3", "echo Python 3.11.2"), 0o111);
    expect((await detect(image)).python).toMatchObject({ rejected: [{ code: "failed" }] });
  });

  test("one with several names in a directory is reported once", async () => {
    using image = makeTestImage();
    image.script("bin/python3.11", "echo Python 3.11.2");
    for (const name of ["python3", "python", "python3.1"]) image.link(`bin/${name}`, "python3.11");
    const { python } = await detect(image);
    expect(python).toMatchObject({ path: `${image.dir}/bin/python3`, also: [], rejected: [] });
  });
});

describe("A4: a library found only through the image's LD_LIBRARY_PATH", () => {
  const script = (words: string): string =>
    `test "$LD_LIBRARY_PATH" = /opt/lib && exec /bin/echo Python 3.11.2; echo '${words}' >&2; exit 127`;

  test.each([
    "python3: error while loading shared libraries: libpython3.11.so.1.0: cannot open shared object file: No such file or directory",
    "Error loading shared library libpython3.11.so.1.0: No such file or directory (needed by /bin/python3)",
  ])("works with it, and the report says so: %s", async (words) => {
    using image = makeTestImage();
    image.script("bin/python3", script(words));
    const env = { PATH: `${image.dir}/bin`, LD_LIBRARY_PATH: "/opt/lib" };
    expect((await detect(image, { env })).python).toMatchObject({
      verdict: "ok",
      version: "3.11.2",
      note: "works only with LD_LIBRARY_PATH; without it, it needs the library libpython3.11.so.1.0, which its loader does not find",
    });
    expect((await detect(image)).python?.rejected).toMatchObject([{ code: "library_missing" }]);
  });
});

test("A4: a bare version number identifies no interpreter, and the config may give a python any name", async () => {
  using image = makeTestImage();
  image.script("bin/python3", "echo 1.4.5");
  image.link("bin/radar-python", "python3.11");
  image.script("bin/python3.11", "echo Python 3.11.2");
  const interpreters = [{ name: "radar", candidates: ["radar-python"] }];
  const { python, report } = await detect(image, { interpreters });
  expect(python?.rejected).toMatchObject([{ code: "no_version" }]);
  expect(report.interpreters.find(({ name }) => name === "radar")).toMatchObject({
    verdict: "ok",
    version: "3.11.2",
  });
});
