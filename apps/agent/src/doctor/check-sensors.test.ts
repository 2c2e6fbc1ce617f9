import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sensorOf } from "../testing.ts";
import type { Check } from "./check.ts";
import { checkSensors } from "./check-sensors.ts";
import { detectionOf, interpreter } from "./testing.ts";

let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "doctor-"));
});

afterEach(() => rmSync(dir, { recursive: true }));

const DETECTION = detectionOf({
  interpreters: [interpreter("python", "3.11.2")],
  resolved: { runtimes: ["python", "native"] },
});

async function check(file: Readonly<Record<string, unknown>>): Promise<Check> {
  const sensor = sensorOf({ cwd: dir, ...file });
  const [found] = await checkSensors([sensor], DETECTION, { PATH: `/none:${dir}` });
  return found!;
}

describe("a sensor (A9, A11)", () => {
  test("that can be started is reported with its command", async () => {
    writeFileSync(join(dir, "radar.py"), "");
    const found = await check({
      runtime: "python",
      requires: ">=3.8",
      command: ["-u", "radar.py"],
    });
    expect(found).toMatchObject({ id: "sensor", status: "ok", subject: "radar" });
    expect(found.message).toBe("runs /usr/bin/python -u radar.py");
  });

  test("whose runtime is missing or too old fails, with what it needs and what the image has (A6)", async () => {
    const absent = await check({ runtime: "ruby", command: ["x.rb"] });
    expect(absent).toMatchObject({ status: "fail", data: { runtime: "ruby" } });
    expect(absent.message).toContain("ruby");
    const old = await check({ runtime: "python", requires: ">=3.12", command: ["x.py"] });
    expect(old).toMatchObject({ status: "fail", data: { requires: ">=3.12" } });
    expect(old.message).toContain("3.11.2");
  });

  test("whose working directory is missing or none is wrong", async () => {
    const command = ["-c", "pass"];
    const missing = await check({ runtime: "python", command, cwd: join(dir, "gone") });
    expect(missing).toMatchObject({ status: "fail" });
    expect(missing.message).toContain(`${join(dir, "gone")} does not exist`);
    writeFileSync(join(dir, "file"), "");
    const file = await check({ runtime: "python", command, cwd: join(dir, "file") });
    expect(file.message).toContain("is not a directory");
  });

  test.each([
    ["radar.py", "warn"],
    ["/opt/none/radar", "warn"],
    ["sub/radar", "warn"],
    ["RADAR.PY", "warn"],
    // Words that do not look like a file: a module, code, a subcommand.
    ["radar", "ok"],
    ["print(1.5)", "ok"],
  ])("whose program %p is not there is %p", async (word, status) => {
    const found = await check({ runtime: "python", command: [word] });
    expect(found.status).toBe(status as "ok");
  });

  test("that is native needs its program to be there and to be executable, by path or PATH", async () => {
    const path = join(dir, "noise");
    const words = [path, "./noise", "noise"];
    for (const word of words)
      expect(await check({ runtime: "native", command: [word] })).toMatchObject({ status: "fail" });
    writeFileSync(path, "", { mode: 0o644 });
    if (process.getuid?.() !== 0)
      expect(await check({ runtime: "native", command: [path] })).toMatchObject({ status: "fail" });
    rmSync(path);
    writeFileSync(path, "", { mode: 0o755 });
    for (const word of words)
      expect((await check({ runtime: "native", command: [word] })).message).toBe(`runs ${path}`);
    expect(await check({ runtime: "native", command: [dir] })).toMatchObject({ status: "fail" });
  });

  test("that isn't there at all is a warning", async () => {
    expect(await checkSensors([], DETECTION, {})).toMatchObject([{ status: "warn" }]);
  });
});
