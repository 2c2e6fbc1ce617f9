import { expect, test } from "bun:test";
import { createReadStream } from "node:fs";
import { once } from "node:events";
import { OUTPUT_BYTES_MAX, type ProbeResult, runProbe, spawnProbe } from "./run-probe.ts";
import { makeTestClock, makeTestImage } from "../test-image.ts";

function run(
  path: string,
  args: readonly string[] = [],
  clock = makeTestClock(),
): Promise<ProbeResult> {
  return runProbe(
    { path, args, env: { PATH: "/usr/bin:/bin", LANG: "C" } },
    { spawn: spawnProbe, clock, timeoutMs: 2000 },
  );
}

test("A4: both outputs of a version command are returned", async () => {
  using image = makeTestImage();
  const path = image.script("java", "echo out; echo err >&2");
  expect(await run(path)).toEqual({ at: "done", stdout: "out\n", stderr: "err\n" });
});

test("A4: it sees only the environment passed to it", async () => {
  process.env["FLEET_TEST_SECRET"] = "x";
  const result = await run("/usr/bin/env");
  delete process.env["FLEET_TEST_SECRET"];
  expect(result).toEqual({ at: "done", stdout: "PATH=/usr/bin:/bin\nLANG=C\n", stderr: "" });
});

test("A4: its standard input is closed", async () => {
  expect(await run("/bin/cat")).toMatchObject({ at: "done", stdout: "" });
});

test("A4: its arguments do not pass through a shell", async () => {
  expect(await run("/bin/echo", ["$HOME; `id` *"])).toMatchObject({ stdout: "$HOME; `id` *\n" });
});

test("A4: one that hangs is killed at its time limit, with all processes it started", async () => {
  using image = makeTestImage();
  const fifo = `${image.dir}/alive`;
  Bun.spawnSync(["/usr/bin/mkfifo", fifo]);
  // Both processes hold the pipe's writing end: it ends when both are gone.
  const path = image.script("python3", `exec 3>${fifo}\n/bin/sleep 1000 &\necho ready >&3\nwait`);
  const clock = makeTestClock();
  const alive = createReadStream(fifo);
  const closed = once(alive, "end");
  const result = run(path, [], clock);
  await once(alive, "data");
  clock.fire();
  expect(await result).toEqual({
    at: "failed",
    code: "timeout",
    reason: "did not answer within 2000 ms when asked for its version",
  });
  expect(clock.delays).toEqual([2000]);
  await closed;
});

test("A4: one that floods is killed without waiting for its time limit", async () => {
  using image = makeTestImage();
  const endless = image.script(
    "node",
    "while :; do echo 0123456789012345678901234567890123456789; done",
  );
  expect(await run(endless)).toMatchObject({ at: "failed", code: "flood" });
  expect(await run("/usr/bin/head", ["-c", "1048576", "/dev/zero"])).toMatchObject({
    code: "flood",
  });
});

test("A4: the output limit is exact and covers both outputs together", async () => {
  const half = OUTPUT_BYTES_MAX / 2;
  const script = (extra: number): string =>
    `head -c ${half} /dev/zero; head -c ${half + extra} /dev/zero >&2`;
  expect(await run("/bin/sh", ["-c", script(0)])).toMatchObject({ at: "done" });
  expect(await run("/bin/sh", ["-c", script(1)])).toMatchObject({ at: "failed", code: "flood" });
});

test("A4: a crash or failure is reported with its output", async () => {
  using image = makeTestImage();
  expect(await run(image.script("a", "echo 1.2.3; kill -SEGV $$"))).toEqual({
    at: "failed",
    code: "crashed",
    reason: "was killed by SIGSEGV when asked for its version",
  });
  const failing = image.script("b", 'echo "lib\tfoo.so: not found" >&2; exit 127');
  expect(await run(failing)).toEqual({
    at: "failed",
    code: "failed",
    reason: "exited with 127 when asked for its version: lib foo.so: not found",
  });
});

test("A4: one that cannot be started is reported with the system's error code", async () => {
  using image = makeTestImage();
  expect(await run(`${image.dir}/nowhere`)).toMatchObject({
    code: "spawn_failed",
    reason: "could not be started (ENOENT)",
  });
  expect(await run(image.file("text", "hello", 0o755))).toMatchObject({ code: "spawn_failed" });
});

test("A4: a process left behind does not delay the answer", async () => {
  using image = makeTestImage();
  const path = image.script("ruby", "/bin/sleep 1000 &\necho ruby 3.3.0");
  expect(await run(path)).toEqual({ at: "done", stdout: "ruby 3.3.0\n", stderr: "" });
});

test("A4: the output of one that has exited but whose pipes stay open is used at the time limit", async () => {
  const clock = makeTestClock();
  const { promise: asked, resolve: isAsked } = Promise.withResolvers<void>();
  const open = (text: string): ReadableStream<Uint8Array> =>
    new ReadableStream({
      start(controller) {
        controller.enqueue(new TextEncoder().encode(text));
      },
    });
  const result = runProbe(
    { path: "/x", args: [], env: {} },
    {
      clock,
      timeoutMs: 2000,
      spawn: () => ({
        stdout: open("v20.1.0\n"),
        stderr: open(""),
        exited: Promise.resolve({ code: 0 }),
        killGroup: isAsked,
      }),
    },
  );
  await asked;
  await new Promise((resolve) => setImmediate(resolve));
  clock.fire();
  expect(await result).toEqual({ at: "done", stdout: "v20.1.0\n", stderr: "" });
});
