import { afterAll, afterEach, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, seededRandom, type Service, systemClock } from "@fleet/daemon";
import { FakeClock } from "@fleet/daemon/testing";
import { nodeIdSchema } from "@fleet/protocol";
import { systemSpawn } from "@fleet/supervisor";
import { createSensorLog } from "../logs/create-sensor-log.ts";
import { sensorEnvironment } from "./sensor-env.ts";
import { SensorOutput } from "./sensor-output.ts";
import { createSensor } from "./create-sensor.ts";
import { eventually, frameText, memorySpool, recordingLog, sensorOf } from "../testing.ts";

const SH = "/bin/sh";
const running: Service[] = [];
const scratch = mkdtempSync(join(tmpdir(), "sensors-"));
const pidFile = join(scratch, "pid");

afterAll(() => rmSync(scratch, { recursive: true }));

afterEach(async () => {
  rmSync(pidFile, { force: true });
  await Promise.all(
    running.splice(0).map((sensor) => sensor.stop(systemClock.monotonicMs() + 3000)),
  );
});

type Mode = Readonly<Record<string, unknown>>;

function setUp(script: string, mode: Mode, clock: Clock = systemClock, program = SH) {
  const { log, lines } = recordingLog();
  const spool = memorySpool(clock, log);
  const config = sensorOf({
    runtime: "shell",
    command: ["-c", script],
    env: { GAIN: "3", PIDFILE: pidFile },
    cwd: "/",
    ...mode,
  });
  const env = sensorEnvironment({
    image: {
      PATH: "/usr/bin:/bin",
      FLEET_ENROLL_TOKEN: "secret",
      FLEET_ENROLL_TOKEN_FILE: "/secret",
    },
    sensor: config.name,
    nodeId: nodeIdSchema.parse("radar3"),
    coordinatorUrl: "http://c:7700",
    runtimes: "shell",
    secrets: [],
    declared: config.env,
    virtualEnv: undefined,
  });
  const bounds = { bytesMax: 1 << 20, files: 1 };
  const sensorLog = createSensorLog({
    sensor: config.name,
    ...bounds,
    stateDir: undefined,
    clock,
    log,
  });
  const output = new SensorOutput({
    spool,
    clock,
    log,
    lineBytesMax: config.lineBytesMax,
    onDropped: (text) => sensorLog.event(text),
  });
  const sensor = createSensor({
    config,
    argv: [program, ...config.command],
    user: undefined,
    env,
    output,
    sensorLog,
    spawn: systemSpawn,
    clock,
    random: seededRandom(1),
    log,
  });
  running.push(sensor);
  /** The lines of the log without their times, with PID in place of process ids. */
  const story = (): string[] =>
    sensorLog.tail(1000).map((line) => line.slice(25).replaceAll(/pid=\d+/g, "pid=PID"));
  return { sensor, output, lines, spool, story };
}

const STREAM: Mode = { restart: "never" };
const said = (lines: { message: string }[], message: string) =>
  lines.some((line) => line.message === message);

test("a stream sensor's lines become frames and its stderr the log's", async () => {
  const { sensor, output, lines } = setUp(
    `echo '${frameText(1)}'; echo junk; echo oops >&2`,
    STREAM,
  );
  void sensor.start();
  await eventually(() => said(lines, "sensor ended"));
  expect(output.counters()).toMatchObject({ produced: 2, spooled: 1, dropped: { bad_json: 1 } });
  expect(lines.find(({ message }) => message === "stderr")?.fields).toEqual({ stderr: "oops" });
});

test("a sensor sees its contract and none of the agent's secrets", async () => {
  const { sensor, lines } = setUp("pwd >&2; env >&2", STREAM);
  void sensor.start();
  await eventually(() => said(lines, "sensor ended"));
  const text = lines.flatMap(({ fields }) =>
    typeof fields["stderr"] === "string" ? [fields["stderr"]] : [],
  );
  expect(text[0]).toBe("/");
  for (const line of [
    "FLEET_API_URL=http://c:7700",
    "FLEET_NODE_ID=radar3",
    "FLEET_SENSOR=radar",
    "FLEET_AGENT_RUNTIMES=shell",
    "GAIN=3",
  ])
    expect(text).toContain(line);
  expect(text.join("\n")).not.toContain("secret");
  expect(text.join("\n")).not.toContain("ENROLL");
});

test("output that is written while being stopped is read to the end", async () => {
  const line = frameText(2).replaceAll('"', '\\"');
  const loop = `i=0; while [ $i -lt 500 ]; do echo "${line}"; i=$((i+1)); done`;
  const { sensor, output, lines } = setUp(
    `trap '${loop}; exit 0' TERM; echo ready >&2; while :; do sleep 0.01; done`,
    STREAM,
  );
  void sensor.start();
  await eventually(() => said(lines, "stderr"));
  await sensor.stop(systemClock.monotonicMs() + 4000);
  expect(output.counters()).toMatchObject({ produced: 500, spooled: 500 });
});

test("a poll sensor runs each interval from start to start, and a line without its end counts", async () => {
  const clock = new FakeClock();
  const { sensor, output } = setUp(
    `printf '%s' '${frameText(1)}'`,
    { mode: "poll", interval: "5s", timeout: "1s" },
    clock,
  );
  void sensor.start();
  for (let run = 1; run <= 3; run++) {
    await eventually(() => output.counters().spooled === run && clock.timers === 1, `run ${run}`);
    clock.advance(4999);
    expect(output.counters().spooled).toBe(run);
    clock.advance(1);
  }
});

test("a poll that is over its time is killed; its whole lines count, and its half line does not", async () => {
  const clock = new FakeClock();
  const dir = mkdtempSync(join(tmpdir(), "poll-"));
  const { sensor, output, lines } = setUp(
    `echo '${frameText(1)}'; printf '{"timestamp":'; : > ${dir}/written; exec sleep 60`,
    { mode: "poll", interval: "5s", timeout: "1s" },
    clock,
  );
  void sensor.start();
  await eventually(() => existsSync(join(dir, "written")));
  rmSync(dir, { recursive: true });
  clock.advance(1000);
  await eventually(() => said(lines, "poll was killed"));
  expect(output.counters()).toMatchObject({ produced: 1, spooled: 1, dropped: {} });
});

test("a poll that can't be started, or fails, is logged and tried again", async () => {
  const clock = new FakeClock();
  const { sensor, lines, story } = setUp(
    "exit 3",
    { mode: "poll", interval: "5s", timeout: "1s" },
    clock,
  );
  void sensor.start();
  await eventually(() => said(lines, "poll failed") && clock.timers === 1);
  for (let run = 2; run <= 13; run++) {
    clock.advance(5000);
    await eventually(() => story().filter((line) => line.includes("code 3")).length === run);
    await eventually(() => clock.timers === 1);
  }
  // Once a minute, with the number of messages held back.
  const told = lines.filter(({ message }) => message === "poll failed");
  expect(told.map(({ fields }) => fields["held_back"])).toEqual([0, 11]);
});

test("stopping a poll in the middle kills it and starts no other", async () => {
  const clock = new FakeClock();
  const { sensor } = setUp(
    "exec sleep 60",
    { mode: "poll", interval: "10ms", timeout: "1m" },
    clock,
  );
  void sensor.start();
  await eventually(() => clock.timers === 1);
  await sensor.stop(clock.monotonicMs() + 5000);
  await eventually(() => clock.timers === 0, "no timer to be left");
});

test.each(["stream", "poll"] as const)(
  "a %s sensor can be killed without waiting, TERM or no",
  async (mode) => {
    const { sensor, lines } = setUp(
      'trap "" TERM; echo $$ > "$PIDFILE"; while :; do sleep 1; done',
      mode === "stream" ? STREAM : { mode, interval: "1m", timeout: "1m" },
    );
    void sensor.start();
    await eventually(() => existsSync(pidFile) && readFileSync(pidFile, "utf8").endsWith("\n"));
    const pid = Number(readFileSync(pidFile, "utf8"));
    sensor.kill();
    await eventually(() => said(lines, mode === "stream" ? "sensor ended" : "poll failed"));
    expect(() => process.kill(pid, 0)).toThrow();
  },
);

test("A11: the log tells a stream sensor's story", async () => {
  const { sensor, story, lines } = setUp(
    `echo oops >&2; echo junk; printf 'half a line' >&2; exit 7`,
    STREAM,
  );
  void sensor.start();
  await eventually(() => said(lines, "sensor ended"));
  const [started, ...rest] = story();
  expect(started).toBe("run=1 pid=PID * started /bin/sh");
  expect(rest.slice(0, -1).toSorted()).toEqual([
    "run=1 pid=PID * dropped a line on stdout that is not a frame (bad_json): junk",
    "run=1 pid=PID | half a line",
    "run=1 pid=PID | oops",
  ]);
  expect(rest.at(-1)).toMatch(/^run=1 pid=PID \* exited with code 7 after \d+\.\d s$/);
});

test("A11: a stream sensor that can't be started is tried for ever, no seldomer than each 30 s, and told of every 10 min", async () => {
  const clock = new FakeClock();
  const { sensor, lines, story } = setUp("", { restart: "always" }, clock, "/nowhere/python3");
  void sensor.start();
  for (let minute = 0; minute < 60; minute++) await clock.run(60_000);
  const tries = story().filter((line) => line.includes("could not be started"));
  expect(tries.length).toBeGreaterThan(118);
  expect(tries.at(-1)).toMatch(
    /"\/nowhere\/python3" was not found; next start in (1[5-9]|2\d|30)\.\d s$/,
  );
  const told = lines.filter(({ level }) => level === "warn");
  expect(told.length).toBeGreaterThanOrEqual(6);
  expect(told.length).toBeLessThanOrEqual(7);
});

test("A11: an interpreter that is removed or replaced is logged, and is used again once it is back", async () => {
  const clock = new FakeClock();
  const program = join(scratch, "interpreter");
  writeFileSync(program, "#!/bin/sh\nexit 1\n", { mode: 0o755 });
  const { sensor, lines, story } = setUp("x", { restart: "always" }, clock, program);
  const runs = (): number => lines.filter(({ message }) => message === "sensor ended").length;
  void sensor.start();
  await eventually(() => runs() === 1 && clock.timers === 1);
  rmSync(program);
  await clock.run(30_000);
  const gone = `${program} was removed since the agent inspected it`;
  expect(lines.filter(({ message }) => message === gone).length).toBe(1);
  writeFileSync(program, "#!/bin/sh\nexit 2\n", { mode: 0o755 });
  await clock.run(30_000);
  await eventually(() => runs() >= 2);
  expect(said(lines, `${program} exists again: it may be another version now`)).toBe(true);
  await eventually(() => clock.timers === 1);
  rmSync(program);
  writeFileSync(program, "#!/bin/sh\nexit 33\n", { mode: 0o755 });
  await clock.run(30_000);
  await eventually(() => runs() >= 3);
  expect(story().some((line) => line.includes("was replaced since the agent inspected it"))).toBe(
    true,
  );
});

const FLOOD_BYTES = 1024 ** 3;

test("A11: endless stdout takes bounded memory and is logged once", async () => {
  const { sensor, output, lines, story } = setUp(
    `head -c ${FLOOD_BYTES} /dev/zero; echo; echo '${frameText(1)}'`,
    { ...STREAM, line_bytes_max: "64KiB" },
  );
  const before = process.memoryUsage().rss;
  void sensor.start();
  await eventually(() => said(lines, "sensor ended"));
  expect(output.counters()).toMatchObject({ produced: 2, spooled: 1, dropped: { too_long: 1 } });
  // Dropped chunks stay in memory until the garbage collector runs.
  expect(process.memoryUsage().rss - before).toBeLessThan(FLOOD_BYTES / 2);
  const told = story().filter((line) => line.includes("too_long"));
  expect(told).toEqual([
    "run=1 pid=PID * dropped a line on stdout that is not a frame (too_long): more than 65536 bytes",
  ]);
});

test.each([
  [100, { produced: 1, spooled: 0, dropped: { too_long: 1 } }],
  [101, { produced: 1, spooled: 1, dropped: {} }],
])(
  "A11: with line_bytes_max %i, a frame of 101 bytes with its LF is taken only where it fits",
  async (max, counters) => {
    const head = frameText(1).slice(0, -1);
    const frame = `${head},"x":"${"x".repeat(100 - head.length - 8)}"}`;
    expect(frame.length).toBe(100);
    const { sensor, output, lines } = setUp(`echo '${frame}'`, {
      ...STREAM,
      line_bytes_max: `${max}B`,
    });
    void sensor.start();
    await eventually(() => said(lines, "sensor ended"));
    expect(output.counters()).toMatchObject(counters);
  },
);

test("A11: a sensor that closes its stdout and lives on is neither ended nor restarted", async () => {
  const { sensor, lines, output } = setUp(
    `echo '${frameText(1)}'; exec >&-; echo closed >&2; while :; do sleep 0.01; echo on >&2; done`,
    { restart: "always" },
  );
  void sensor.start();
  await eventually(() => lines.filter(({ fields }) => fields["stderr"] === "on").length > 5);
  expect(said(lines, "sensor ended")).toBe(false);
  expect(output.counters()).toMatchObject({ produced: 1 });
  await sensor.stop(systemClock.monotonicMs() + 3000);
});

test("A11: a poll over its time may end by itself within its grace", async () => {
  const { sensor, output, lines, story } = setUp(
    `trap 'echo "${frameText(1).replaceAll('"', '\\"')}"; exit 0' TERM; while :; do sleep 0.01; done`,
    { mode: "poll", interval: "1h", timeout: "100ms", stop_grace: "60s" },
  );
  void sensor.start();
  await eventually(() => said(lines, "poll was killed"));
  expect(output.counters()).toMatchObject({ spooled: 1 });
  expect(story().at(-1)).toBe("run=1 pid=PID * was ended: it timed out");
});

test("A11: a poll that ignores TERM is killed in time for the stop's deadline", async () => {
  const { sensor } = setUp('trap "" TERM; echo $$ > "$PIDFILE"; while :; do sleep 1; done', {
    mode: "poll",
    interval: "1h",
    stop_grace: "60s",
  });
  void sensor.start();
  await eventually(() => existsSync(pidFile) && readFileSync(pidFile, "utf8").endsWith("\n"));
  const pid = Number(readFileSync(pidFile, "utf8"));
  await sensor.stop(systemClock.monotonicMs() + 400);
  expect(() => process.kill(pid, 0)).toThrow();
});

test("A11: the stderr of a poll is in the log while it still runs", async () => {
  const { sensor, story } = setUp("echo busy >&2; exec sleep 1000", {
    mode: "poll",
    interval: "1h",
    timeout: "1h",
  });
  void sensor.start();
  await eventually(() => story().includes("run=1 pid=PID | busy"));
});
