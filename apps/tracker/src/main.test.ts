/** The whole program, from source, as a child process. */
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

/** Runs to the end. */
async function run(...args: string[]) {
  const child = start(...args);
  const [stdout, stderr, status] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.exited,
  ]);
  return { stdout, stderr, status };
}

/** Starts listening on a free port; `stderr` gives the lines after the one that says so. */
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
    "at %s works off what has arrived, writes it out, reports, and exits with 0",
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

  test("tracks a file, whose last line need not end", async () => {
    const path = join(directory(), "in.detection");
    const out = join(directory(), "out.jsonl");
    writeFileSync(path, LINES.trimEnd());
    expect(await run(path, "-s", out)).toMatchObject({ status: 0, stdout: "" });
    expect(parseEvents(readFileSync(out, "utf8")).length).toBe(8);
  });

  test("says in one line that its port is taken", async () => {
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

  test("lists all that is wrong with a config, and exits with 78", async () => {
    const path = join(directory(), "tracker.yaml");
    writeFileSync(path, "tracker: { m_threshold: 0 }\nradar: { fc: 1 }\n");
    expect(await run("--tcp", "-c", path)).toEqual({
      status: 78,
      stdout: "",
      stderr:
        `fleet-tracker: config: ${path}: tracker.m_threshold must be a whole number from 1 to 1000\n` +
        `fleet-tracker: config: ${path}: radar.fc is not a known key\n`,
    });
    writeFileSync(path, "tracker: {");
    expect((await run("--tcp", "-c", path)).status).toBe(78);
    expect((await run("--tcp", "-c", join(path, "absent"))).status).toBe(78);
  });

  test("answers --version and --help, and refuses bad usage with 64", async () => {
    const version = await run("--version");
    expect(version.status).toBe(0);
    expect(version.stdout).toMatch(/^fleet-tracker \d+\.\d+\.\d+(-source)?\n$/);
    const help = await run("--help");
    expect(help.status).toBe(0);
    expect(help.stdout).toStartWith("usage: fleet-tracker --tcp");
    expect(await run("--udp")).toMatchObject({ status: 64, stdout: "" });
  });

  test("says so when a file cannot be read or written", async () => {
    const absent = join(directory(), "absent", "file");
    expect((await run(absent)).status).toBe(66);
    expect((await run("--tcp", "--tcp-port", "0", "-s", absent)).status).toBe(74);
  });
});
