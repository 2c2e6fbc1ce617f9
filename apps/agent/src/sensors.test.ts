import { afterAll, afterEach, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { seededRandom, type Service, systemClock } from "@fleet/daemon";
import { FakeClock } from "@fleet/daemon/testing";
import { nodeIdSchema, spoolIdSchema } from "@fleet/protocol";
import { MemorySpool } from "./memory-spool.ts";
import { sensorEnvironment } from "./sensor-env.ts";
import { SensorLog } from "./sensor-log.ts";
import { SensorOutput } from "./sensor-output.ts";
import { newSensor } from "./sensors.ts";
import { eventually, frameText, recordingLog, sensorOf } from "./testing.ts";

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

function setUp(script: string, mode: Mode, clock = systemClock) {
  const { log, lines } = recordingLog();
  const spool = new MemorySpool({ spoolId: spoolIdSchema.parse("s1"), bytesMax: 1 << 26 });
  const output = new SensorOutput({ spool, clock, log });
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
    declared: config.env,
  });
  const argv = [SH, ...config.command];
  const sensor = newSensor({ config, argv, env, output, clock, random: seededRandom(1), log });
  running.push(sensor);
  return { sensor, output, lines, spool };
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

test("a poll that can't be started, or fails, is told and tried again", async () => {
  const clock = new FakeClock();
  const { sensor, lines } = setUp("exit 3", { mode: "poll", interval: "5s", timeout: "1s" }, clock);
  void sensor.start();
  await eventually(() => said(lines, "poll failed") && clock.timers === 1);
  clock.advance(5000);
  await eventually(() => lines.filter(({ message }) => message === "poll failed").length === 2);
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

test("a noisy stderr is held back and the number of lines told", () => {
  const clock = new FakeClock();
  const { log, lines } = recordingLog();
  const stderr = new SensorLog(clock, log);
  stderr.push(new TextEncoder().encode("x\n".repeat(1000)));
  expect(lines.length).toBe(100);
  clock.advance(100);
  stderr.push(new TextEncoder().encode(`${"y".repeat(9000)}\nlast\nmore\n`));
  expect(lines.slice(100).map(({ fields }) => fields)).toEqual([
    { stderr: "last", lines_suppressed: 901 },
    { stderr: "more" },
  ]);
});
