import { expect, test } from "bun:test";
import { FakeClock } from "@fleet/daemon/testing";
import { recordingLog } from "../testing.ts";
import { memoryStore, STORED_LINE_BYTES_MAX } from "./log-store.ts";
import { SensorLog } from "./sensor-log.ts";
import { StderrEcho } from "./stderr-echo.ts";

const encoder = new TextEncoder();

function setUp(burstBytes = 1 << 20) {
  const clock = new FakeClock(Date.UTC(2026, 6, 8, 8, 40));
  const { log, lines: echoed } = recordingLog();
  const store = memoryStore(1 << 20);
  const sensorLog = new SensorLog({ store, burstBytes, clock, echo: new StderrEcho(clock, log) });
  const push = (text: string): void => sensorLog.push(encoder.encode(text));
  return { clock, sensorLog, push, echoed, lines: () => sensorLog.tail(10_000) };
}

test("A11: a log tells a sensor's story, each line with its time, run and process", () => {
  const { clock, sensorLog, push, lines } = setUp();
  sensorLog.started(3, 4711, "/usr/bin/python3");
  clock.advance(456);
  push("Trace");
  push("back:\r\n\n  File\n");
  sensorLog.event("a line on stdout was too long");
  push("last words");
  sensorLog.ended("exited with code 1 after 0.5 s");
  sensorLog.event("could not be started: gone");
  expect(lines()).toEqual([
    "2026-07-08T08:40:00.000Z run=3 pid=4711 * started /usr/bin/python3",
    "2026-07-08T08:40:00.456Z run=3 pid=4711 | Traceback:",
    "2026-07-08T08:40:00.456Z run=3 pid=4711 |   File",
    "2026-07-08T08:40:00.456Z run=3 pid=4711 * a line on stdout was too long",
    "2026-07-08T08:40:00.456Z run=3 pid=4711 | last words",
    "2026-07-08T08:40:00.456Z run=3 pid=4711 * exited with code 1 after 0.5 s",
    "2026-07-08T08:40:00.456Z * could not be started: gone",
  ]);
});

test("A11: a long line is cut and marked, at the bound and not before", () => {
  const { sensorLog, push, lines } = setUp();
  push(`${"x".repeat(8192)}\n${"y".repeat(5000)}`);
  push(`${"y".repeat(5000)}\n`);
  push("ü".repeat(4096) + "\u0000".repeat(8000));
  sensorLog.ended("ended");
  const [whole, cut, wide] = lines().map((line) => line.slice(line.indexOf("|") + 2));
  expect(whole).toBe("x".repeat(8192));
  expect(cut).toBe(`${"y".repeat(8192)} …[cut, 1808 more bytes]`);
  expect(wide).toBe(`${"ü".repeat(4096)} …[cut, 8000 more bytes]`);
});

test("A11: no line is stored that is longer than the stores take", () => {
  const { push, lines } = setUp();
  push(`${"\u0001".repeat(9000)}\n${"\u00ff".repeat(9000)}\n`);
  for (const line of lines())
    expect(encoder.encode(`${line}\n`).length).toBeLessThanOrEqual(STORED_LINE_BYTES_MAX);
  expect(lines().length).toBe(2);
});

test("A11: a sensor steers neither a terminal nor a reader of its log", () => {
  const { push, lines, sensorLog } = setUp();
  push("\u001b[31mred\u001b[0m \u001b]0;title\u0007 a\rb\u0085c\td\n");
  sensorLog.push(new Uint8Array([0xff, 0x41, 0x0a]));
  sensorLog.event("dropped a line on stdout that is not a frame: \u001b[2J\n2026-07-08 forged");
  expect(lines()[2]).toEndWith(
    " * dropped a line on stdout that is not a frame: \\x0a2026-07-08 forged",
  );
  const [steering, broken] = lines().map((line) => line.slice(line.indexOf("|") + 2));
  expect(steering).toBe("red  a\\x0db\\x85c\td");
  expect(broken).toBe("\ufffdA");
});

test("A11: lines above the allowed rate are dropped, and their number is logged", () => {
  const { clock, push, lines } = setUp(16_384);
  for (let i = 0; i < 1000; i++) push(`${i} ${"x".repeat(90)}\n`);
  const before = lines().length;
  expect(before).toBeLessThan(170);
  clock.advance(1000);
  push("again\n");
  expect(lines().slice(before)).toEqual([
    `2026-07-08T08:40:01.000Z * ${1000 - before} lines dropped: too many at once`,
    "2026-07-08T08:40:01.000Z | again",
  ]);
});

test("A11: the agent's own log repeats stderr at a bounded rate and tells how much it held back", () => {
  const { clock, push, echoed, lines } = setUp();
  push("x\n".repeat(1000));
  expect(echoed.length).toBe(100);
  expect(lines().length).toBe(1000);
  clock.advance(100);
  push(`last\nmore\n`);
  expect(echoed.slice(100).map(({ fields }) => fields)).toEqual([
    { stderr: "last", lines_suppressed: 900 },
    { stderr: "more" },
  ]);
});

test("A11: a line without an end takes no more memory the longer it grows", () => {
  const { push, sensorLog, lines } = setUp();
  const chunk = "x".repeat(1 << 20);
  for (let i = 0; i < 64; i++) push(chunk);
  sensorLog.ended("ended");
  expect(lines()[0]).toEndWith(` …[cut, ${64 * (1 << 20) - 8192} more bytes]`);
});
