import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { StopSignal } from "@fleet/daemon";
import { FakeClock } from "@fleet/daemon/testing";
import { recordingLog } from "../testing.ts";
import { RotatedFile } from "./rotated-file.ts";
import { type LogsOptions, runLogs } from "./run-logs.ts";

let stateDir: string;
let path: string;

beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), "logs-"));
  mkdirSync(join(stateDir, "logs"));
  path = join(stateDir, "logs", "radar.log");
});

afterEach(() => rmSync(stateDir, { recursive: true, force: true }));

const NOBODY: (signal: StopSignal) => void = () => {};

function show(options: Partial<LogsOptions> = {}) {
  const clock = new FakeClock();
  const shown = { out: "", err: "", stop: NOBODY };
  const done = runLogs({
    sensor: "radar",
    lines: 100,
    follow: false,
    stateDir,
    clock,
    print: (bytes) => void (shown.out += new TextDecoder().decode(bytes)),
    complain: (text) => void (shown.err += text),
    onStop: (stop) => void (shown.stop = stop),
    ...options,
  });
  return { clock, shown, done };
}

describe("A11: fleet-agent logs", () => {
  test("prints the last lines, across rotated files", async () => {
    writeFileSync(`${path}.1`, "a\nb\n");
    writeFileSync(path, "c\nd\n");
    const { shown, done } = show({ lines: 3 });
    expect(await done).toBe(0);
    expect(shown).toMatchObject({ out: "b\nc\nd\n", err: "" });
  });

  test("names the sensors that have logs when it knows none of that name", async () => {
    writeFileSync(path, "a\n");
    writeFileSync(join(stateDir, "logs", "noise.log"), "a\n");
    for (const sensor of ["sonar", "../identity.json", "a/b", ""]) {
      const { shown, done } = show({ sensor });
      expect(await done).toBe(1);
      expect(shown.err).toBe(
        `there is no log of ${JSON.stringify(sensor)} in ${stateDir}; sensors with a log: noise, radar`,
      );
      expect(shown.out).toBe("");
    }
  });

  test("names the directory and the flag to pass if there is no state directory", async () => {
    const { shown, done } = show({ stateDir: join(stateDir, "none") });
    expect(await done).toBe(1);
    expect(shown.err).toBe(
      `${join(stateDir, "none")} can't be read (ENOENT); pass the --state-dir of the agent, or set FLEET_STATE_DIR`,
    );
  });

  test("names the users who may read a log that can't be read", async () => {
    // Not even root can read a directory as a file.
    mkdirSync(path);
    const { shown, done } = show();
    expect(await done).toBe(1);
    expect(shown.err).toBe(
      "the log of radar can't be read; run this command as the agent's user or as root",
    );
  });

  test("says so when no sensor has a log yet", async () => {
    for (const prepare of [() => {}, () => rmSync(join(stateDir, "logs"), { recursive: true })]) {
      prepare();
      const { shown, done } = show();
      expect(await done).toBe(1);
      expect(shown.err).toBe(`no sensor has a log in ${stateDir} yet`);
    }
  });

  test("ends like by SIGPIPE when nobody reads it any more", async () => {
    writeFileSync(path, "a\n");
    const closed = Object.assign(new Error("closed"), { code: "EPIPE" });
    const { done } = show({
      print: () => {
        throw closed;
      },
    });
    expect(await done).toBe(141);
  });
});

describe("A11: fleet-agent logs --follow", () => {
  test("prints new lines until a signal ends it", async () => {
    writeFileSync(path, "a\nb\n");
    const { clock, shown, done } = show({ follow: true, lines: 1 });
    await clock.run(0);
    expect(shown.out).toBe("b\n");
    appendFileSync(path, "c\nhal");
    await clock.run(250);
    appendFileSync(path, "f\n");
    await clock.run(250);
    expect(shown.out).toBe("b\nc\nhalf\n");
    shown.stop("SIGINT");
    expect(await done).toBe(130);
    expect(clock.timers).toBe(0);
  });

  test("loses and repeats nothing, however often the log is rotated meanwhile", async () => {
    const { log } = recordingLog();
    const store = new RotatedFile({
      path,
      bytesMax: 16_384,
      files: 4,
      clock: new FakeClock(),
      log,
    });
    const texts = Array.from({ length: 3000 }, (_, i) => `${i} ${"x".repeat(60)}\n`);
    store.append([new TextEncoder().encode("first\n")]);
    const { clock, shown, done } = show({ follow: true });
    await clock.run(0);
    // Up to two rotations between two polls: fewer than the number of files.
    for (let i = 0; i < texts.length; i += 300) {
      store.append(texts.slice(i, i + 300).map((text) => new TextEncoder().encode(text)));
      await clock.run(250);
    }
    expect(shown.out === `first\n${texts.join("")}`).toBe(true);
    shown.stop("SIGTERM");
    expect(await done).toBe(143);
    store.close();
  });

  test("continues with the new lines of a log that was removed or truncated, and repeats nothing", async () => {
    writeFileSync(`${path}.1`, "old\n");
    // Its age distinguishes it from files written after the removed one.
    utimesSync(`${path}.1`, 1, 1);
    writeFileSync(path, "a\n");
    const { clock, shown, done } = show({ follow: true });
    await clock.run(0);
    rmSync(path);
    await clock.run(250);
    writeFileSync(path, "b\n");
    await clock.run(250);
    truncateSync(path, 0);
    await clock.run(250);
    appendFileSync(path, "c\n");
    await clock.run(250);
    expect(shown.out).toBe("old\na\nb\nc\n");
    shown.stop("SIGINT");
    await done;
  });
});

describe("A11: fleet-agent logs --follow as a process", () => {
  const PROGRAM = `
    import { systemClock } from "@fleet/daemon";
    import { runLogs } from "${import.meta.dir}/run-logs.ts";
    const [sensor, stateDir] = process.argv.slice(-2);
    process.exit(await runLogs({ sensor, lines: 10, follow: true, stateDir, clock: systemClock }));`;

  const spawn = (command: readonly string[]): Bun.Subprocess<"ignore", "pipe", "pipe"> =>
    Bun.spawn([...command, process.execPath, "-e", PROGRAM, "radar", stateDir], {
      cwd: import.meta.dir,
      stdio: ["ignore", "pipe", "pipe"],
    });

  test("ends by SIGINT with 130", async () => {
    writeFileSync(path, "a\n");
    const child = spawn([]);
    const reader = child.stdout.getReader();
    expect(new TextDecoder().decode((await reader.read()).value)).toBe("a\n");
    appendFileSync(path, "b\n");
    expect(new TextDecoder().decode((await reader.read()).value)).toBe("b\n");
    child.kill("SIGINT");
    expect(await child.exited).toBe(130);
  });

  test("ends with 141 at the next line when its reader has gone, as behind `| head`", async () => {
    writeFileSync(path, "a\n");
    const script = '{ "$@"; echo $? >&2; } | { head -n 1; exec <&-; echo gone; }';
    const child = spawn(["sh", "-c", script, "sh"]);
    const reader = child.stdout.getReader();
    let said = "";
    while (said !== "a\ngone\n") said += new TextDecoder().decode((await reader.read()).value);
    appendFileSync(path, "b\n");
    expect(await child.stderr.text()).toBe("141\n");
  });
});
