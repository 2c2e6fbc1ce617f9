import { afterEach, beforeEach, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@fleet/daemon/clock";
import { FakeClock } from "@fleet/daemon/testing";
import { eventually } from "../testing.ts";
import { InstallError } from "./failure.ts";
import { type Trial, tryRun } from "./trial-run.ts";

let dir: string;
let path: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "trial-"));
  path = join(dir, "copy");
});

afterEach(() => rmSync(dir, { recursive: true }));

function program(text: string, mode = 0o755): void {
  writeFileSync(path, text);
  chmodSync(path, mode);
}

/** The problem that the trial run finds, or nothing. */
async function verdict(more: Partial<Trial> = {}): Promise<string | undefined> {
  const base: Trial = {
    path,
    expected: "ok",
    dir: "/fleet",
    isNoexec: () => false,
    clock: systemClock,
  };
  try {
    await tryRun({ ...base, ...more });
    return undefined;
  } catch (error) {
    if (!(error instanceof InstallError)) throw error;
    return `${error.code}: ${error.message}`;
  }
}

test("a copy that answers right is good; it gets its arguments, no environment and no input", async () => {
  program(`#!/bin/sh
    [ "$*" = "--version --json" ] && [ "$(pwd)" = / ] && [ -z "$HOME$FLEET_ENROLL_TOKEN$TMPDIR" ] && ! read -r _ && echo ok`);
  expect(await verdict()).toBeUndefined();
});

test.each([
  ["echo other", 'misbehaved: /fleet: the copy answered "other" instead of "ok"'],
  ["echo ok; echo more", 'misbehaved: /fleet: the copy answered "ok\\nmore" instead of "ok"'],
  ["echo ok; exit 3", "misbehaved: /fleet: the copy exited with code 3"],
  [
    "echo a >&2; echo 'no /proc' >&2; exit 127",
    'misbehaved: /fleet: the copy exited with code 127, printing "no /proc"',
  ],
  [
    "kill -SYS $$",
    "misbehaved: /fleet: the copy was killed by SIGSYS; check memory limits and seccomp rules",
  ],
  ["kill -ILL $$", "old_cpu: /fleet: the copy died of SIGILL: the processor lacks instructions"],
])("%s", async (script, text) => {
  program(`#!/bin/sh\n${script}\n`);
  expect(await verdict()).toStartWith(text);
});

test("a program for no processor we know is of the wrong architecture", async () => {
  program("\x7fELF, but not really");
  expect(await verdict()).toStartWith("wrong_arch: /fleet: the kernel does not run programs for ");
});

test("one that ends as if never started, as under an emulator, is judged by the mount", async () => {
  program("#!/bin/sh\nexit 127\n");
  expect(await verdict()).toStartWith("wrong_arch: ");
  expect(await verdict({ isNoexec: () => true })).toStartWith("noexec: ");
});

test("one that may not be run is blamed on the mount only when the mount says so", async () => {
  program("#!/bin/sh\necho ok\n", 0o644);
  expect(await verdict({ isNoexec: () => true })).toStartWith("noexec: /fleet is mounted noexec;");
  for (const isNoexec of [() => false, () => undefined])
    expect(await verdict({ isNoexec })).toStartWith(
      "noexec: /fleet: running the copy was not permitted (EACCES)",
    );
});

test("one that can't be started for another reason is reported as it is", async () => {
  expect(await verdict()).toMatch(/^misbehaved: \/fleet: the copy could not be started: ENOENT/);
});

test("one that does not end is ended when its time is up", async () => {
  const clock = new FakeClock();
  program("#!/bin/sh\nexec sleep 1000\n");
  const trying = verdict({ clock, limitMs: 2000 });
  await eventually(() => clock.timers > 0, "the timer");
  clock.advance(1999);
  expect(await Promise.race([trying, Promise.resolve("still going")])).toBe("still going");
  clock.advance(1);
  expect(await trying).toBe("misbehaved: /fleet: the copy did not answer within 2 s");
});

test("one that floods us is ended", async () => {
  program("#!/bin/sh\nwhile :; do echo flood; done\n");
  expect(await verdict()).toStartWith("misbehaved: /fleet: the copy was killed by SIG");
});
