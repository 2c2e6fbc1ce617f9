/** Runs the whole program from source as a child process. */
import { afterEach, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { frameAt, lineOf, parseEvents } from "./testing.ts";

const MAIN = join(import.meta.dir, "main.ts");
const FLIGHTS = [{ delayKm: 40, dopplerHz: 120 }];
const LINES = Array.from({ length: 10 }, (_, index) => lineOf(frameAt(index, FLIGHTS))).join("");
const cleanUps: (() => void)[] = [];

afterEach(() => {
  for (const cleanUp of cleanUps.splice(0)) cleanUp();
});

function start(...args: string[]) {
  const child = Bun.spawn([process.execPath, MAIN, ...args], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  cleanUps.push(() => child.kill("SIGKILL"));
  return child;
}

/** Runs the program to its end. */
async function run(...args: string[]) {
  const child = start(...args);
  const [stdout, stderr, status] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.exited,
  ]);
  return { stdout, stderr, status };
}

/** Starts the program on a free port; `stderr` returns the lines after the one with the port. */
async function listen(...args: string[]) {
  const child = start("--tcp", "--tcp-host", "127.0.0.1", "--tcp-port", "0", ...args);
  const reader = child.stderr.getReader();
  const decoder = new TextDecoder();
  const { value } = await reader.read();
  const line = decoder.decode(value);
  const port = Number(/^fleet-tracker: listening on 127\.0\.0\.1:(\d+)\n$/.exec(line)?.[1]);
  const stderr = async (): Promise<string> => {
    let text = "";
    for (;;) {
      const part = await reader.read();
      if (part.done) return text;
      text += decoder.decode(part.value);
    }
  };
  return { child, port, stderr };
}

function directory(): string {
  const path = mkdtempSync(join(tmpdir(), "fleet-tracker-"));
  cleanUps.push(() => rmSync(path, { recursive: true }));
  return path;
}

describe("fleet-tracker", () => {
  test.each(["SIGTERM", "SIGINT"] as const)(
    "at %s processes the data that has arrived, writes the events, prints the summary, and exits with 0",
    async (signal) => {
      const { child, port, stderr } = await listen("-s", "-");
      const client = connect(port, "127.0.0.1");
      await once(client, "connect");
      client.write(LINES);
      child.kill(signal);
      const [stdout, report, status] = await Promise.all([
        child.stdout.text(),
        stderr(),
        child.exited,
      ]);
      client.destroy();
      expect(parseEvents(stdout).length).toBe(8);
      expect(report).toBe(
        "fleet-tracker: frames=10 detections=10 events=8 tracks_confirmed=1 clients=1\n",
      );
      expect(status).toBe(0);
    },
  );

  test("survives every hostile line, counts it, and continues", async () => {
    const good = LINES.split(/(?<=\n)/).map((line) => Buffer.from(line));
    const hostile: readonly (string | Uint8Array)[] = [
      Uint8Array.of(0x7b, 0xff, 0xfe, 0x7d),
      "{",
      "[1,2]",
      "7",
      "null",
      '"text"',
      '{"type":"heartbeat","timestamp":1}',
      '{"delay":[1],"doppler":[1],"snr":[1]}',
      '{"timestamp":"now","delay":[1],"doppler":[1],"snr":[1]}',
      '{"timestamp":1e999,"delay":[1],"doppler":[1],"snr":[1]}',
      '{"timestamp":1,"delay":[null],"doppler":[1],"snr":[1]}',
      '{"timestamp":1,"delay":[1],"doppler":["1"],"snr":[1]}',
      '{"timestamp":1,"delay":[1],"doppler":[1],"snr":[{}]}',
      '{"timestamp":1,"delay":1,"doppler":[1],"snr":[1]}',
      '{"timestamp":1,"delay":[NaN],"doppler":[1],"snr":[1]}',
      '{"timestamp":1,"delay":[1],"doppler":[1],"snr":[1],"adsb":[7]}',
      '{"timestamp":1,"delay":[1],"doppler":[1],"snr":[1],"adsb":["a"]}',
      "x".repeat(2 * 1024 * 1024),
      "[".repeat(100_000),
      "\u0000",
    ];
    const { child, port, stderr } = await listen("-s", "-");
    const client = connect(port, "127.0.0.1");
    const chunks = hostile.flatMap((line, index) => [
      Buffer.from(line),
      Buffer.from("\n"),
      good[index] ?? Buffer.alloc(0),
    ]);
    client.end(Buffer.concat(chunks));
    await once(client, "close");
    child.kill("SIGTERM");
    const [stdout, report] = await Promise.all([child.stdout.text(), stderr()]);
    expect(parseEvents(stdout).length).toBe(8);
    const counted = [...report.matchAll(/(?:skipped_\w+|oversized_lines)=(\d+)/g)];
    const sum = counted.reduce((before, [, count]) => before + Number(count), 0);
    expect(sum).toBe(hostile.length);
    expect(report).toContain("frames=10 detections=10 events=8");
  });

  test("continues through frames that are ragged, empty, repeated, late, set back, or minutes apart", async () => {
    const frame = (timestamp: number, rest: object): string =>
      `${JSON.stringify({ timestamp, delay: [], doppler: [], snr: [], ...rest })}\n`;
    const input = join(directory(), "in.detection");
    const last = frameAt(9, FLIGHTS).timestampMs;
    const odd = [
      frame(last + 500, { delay: [1, 2, 3], doppler: [1, 2], snr: [9], adsb: [], extra: { a: 1 } }),
      frame(last + 500, { delay: [1], doppler: [1], snr: [9] }),
      frame(last - 100, {}),
      frame(last + 600_000, {}),
      frame(last - 3_600_000, { delay: [1e300], doppler: [-1e300], snr: [1e300] }),
    ];
    writeFileSync(input, LINES + odd.join(""));
    expect(await run(input)).toMatchObject({
      status: 0,
      stderr:
        "fleet-tracker: frames=13 detections=12 events=8 tracks_confirmed=1 tracks_deleted=1 " +
        "duplicate_frames=1 late_frames=1 time_jumps=2\n",
    });
  });

  test("tracks a file whose last line has no LF", async () => {
    const path = join(directory(), "in.detection");
    const out = join(directory(), "out.jsonl");
    writeFileSync(path, LINES.trimEnd());
    expect(await run(path, "-s", out)).toMatchObject({ status: 0, stdout: "" });
    expect(parseEvents(readFileSync(out, "utf8")).length).toBe(8);
  });

  test("prints one line when its port is taken", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    const port = typeof address === "object" ? String(address?.port) : "";
    const result = await run("--tcp", "--tcp-host", "127.0.0.1", "--tcp-port", port);
    server.close();
    expect(result.status).toBe(69);
    expect(result.stderr).toStartWith(`fleet-tracker: cannot listen on 127.0.0.1:${port}: `);
    expect(result.stderr.trimEnd()).not.toContain("\n");
  });

  test("lists all problems of a config, and exits with 78", async () => {
    const path = join(directory(), "tracker.yaml");
    writeFileSync(path, "tracker: { m_threshold: 0 }\nradar: { center_frequency: 1 }\n");
    expect(await run("--tcp", "-c", path)).toEqual({
      status: 78,
      stdout: "",
      stderr:
        `fleet-tracker: config: ${path}: tracker.m_threshold must be a whole number from 1 to 1000\n` +
        `fleet-tracker: config: ${path}: radar.center_frequency must be a number from 1000000 to 100000000000\n`,
    });
    writeFileSync(path, "tracker: {");
    expect((await run("--tcp", "-c", path)).status).toBe(78);
    expect((await run("--tcp", "-c", join(path, "absent"))).status).toBe(78);
  });

  test("lists the ignored keys of a config, and continues", async () => {
    const [path, input] = [join(directory(), "tracker.yaml"), join(directory(), "in.detection")];
    writeFileSync(path, "tracker: { m_threshold: 4, n_coast: 3 }\nadsb: { enabled: true }\n");
    writeFileSync(input, LINES);
    const result = await run(input, "-c", path);
    expect(result.status).toBe(0);
    expect(result.stderr).toBe(
      `fleet-tracker: config: ${path}: ignored, not used by this tracker: tracker.n_coast, adsb\n` +
        "fleet-tracker: frames=10 detections=10 events=7 tracks_confirmed=1\n",
    );
  });

  test("reads the center frequency from a blah2 config", async () => {
    const [blah2, input] = [join(directory(), "config.yml"), join(directory(), "in.detection")];
    writeFileSync(blah2, "capture: { fs: 2000000, fc: 195000000 }\n");
    writeFileSync(input, LINES);
    expect((await run(input, "--blah2-config", blah2)).status).toBe(0);
    writeFileSync(blah2, "capture: { fs: 2000000 }\n");
    expect(await run(input, "--blah2-config", blah2)).toMatchObject({
      status: 78,
      stderr: `fleet-tracker: config: ${blah2}: capture.fc must be a frequency in Hz\n`,
    });
  });

  test("explains with --explain why a track is born", async () => {
    const input = join(directory(), "in.detection");
    writeFileSync(input, LINES);
    const { stderr } = await run(input, "--explain");
    expect(stderr).toMatch(
      /^fleet-tracker: 260708-000000 born: 3 detections in 3 frames since 1783500000000, target probability 99\.\d %; 39\.\d\d km, 120\.0 Hz at 1783500001000\n/,
    );
  });

  test("answers --version and --help, and exits with 64 on bad usage", async () => {
    const version = await run("--version");
    expect(version.status).toBe(0);
    expect(version.stdout).toMatch(/^fleet-tracker \d+\.\d+\.\d+(-source)?\n$/);
    const help = await run("--help");
    expect(help.status).toBe(0);
    expect(help.stdout).toStartWith("usage: fleet-tracker --tcp");
    expect(await run("--udp")).toMatchObject({ status: 64, stdout: "" });
  });

  test("fails when a file cannot be read or written", async () => {
    const absent = join(directory(), "absent", "file");
    expect((await run(absent)).status).toBe(66);
    expect((await run("--tcp", "--tcp-port", "0", "-s", absent)).status).toBe(74);
  });
});
