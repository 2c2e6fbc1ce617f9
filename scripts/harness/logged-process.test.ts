/** Tests with real processes that nothing is left behind: not by a LoggedProcess, not by the guard. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cleanEnvironment } from "./clean-environment.ts";
import { killMarked, marked } from "./proc.ts";
import { LoggedProcess, tailOf } from "./logged-process.ts";

const WAIT_MS = 10_000;

let dir: string;
let mark: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "fleet-processes-"));
  mark = `FLEET_DEMO_TEST=${dir}`;
});

afterEach(() => {
  killMarked(mark);
  rmSync(dir, { recursive: true, force: true });
});

function start(script: string): LoggedProcess {
  return new LoggedProcess({ name: "sh", path: "/bin/sh", args: ["-c", script] }, dir, mark);
}

async function until(isMet: () => boolean): Promise<void> {
  const endMs = performance.now() + WAIT_MS;
  while (!isMet()) {
    if (performance.now() > endMs) throw new Error(`timed out waiting for ${isMet.toString()}`);
    await Bun.sleep(20);
  }
}

describe("a logged process", () => {
  test("writes to its log and reports how it ended", async () => {
    const child = start("echo out; echo err >&2; exit 3");
    await child.gone;
    expect(child.end).toBe("exit code 3");
    expect(tailOf(child.logFile)).toBe("out\nerr");
    expect(tailOf(child.logFile, 1)).toBe("err");
    expect(tailOf(join(dir, "other.log"))).toBe("(no log)");
  });

  test("is stopped by SIGTERM", async () => {
    const child = start("trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done");
    await until(() => tailOf(child.logFile) === "up");
    await child.stop();
    expect(child.end).toBe("exit code 0");
    await child.stop();
  });

  test("that is killed leaves children in their own sessions, which are found by their mark", async () => {
    const child = start("setsid sleep 100 & setsid sleep 100 & wait");
    await until(() => marked(mark).length === 3);
    child.kill();
    await child.gone;
    expect(child.end).toBe("killed by SIGKILL");
    expect(marked(mark)).toHaveLength(2);
    killMarked(mark);
    await until(() => marked(mark).length === 0);
  });
});

describe("the guard", () => {
  /** Runs a script like the demo in another process, which can be killed. */
  function startScript(rest: string): Bun.Subprocess<"ignore", "pipe", "inherit"> {
    const script = `
      const { Guard } = await import(${JSON.stringify(join(import.meta.dir, "guard.ts"))});
      const { LoggedProcess } = await import(${JSON.stringify(join(import.meta.dir, "logged-process.ts"))});
      const dir = ${JSON.stringify(dir)}, mark = ${JSON.stringify(mark)};
      const args = ["-c", "setsid sleep 100 & wait"];
      const guard = new Guard(mark, dir);
      const child = new LoggedProcess({ name: "sh", path: "/bin/sh", args }, dir, mark);
      guard.watch(child);
      ${rest}
      console.log("up");
      await Bun.sleep(100_000);`;
    return Bun.spawn([process.execPath, "-e", script], { stdout: "pipe", stderr: "inherit" });
  }

  async function whenUp(child: Bun.Subprocess<"ignore", "pipe", "inherit">): Promise<void> {
    for await (const chunk of child.stdout)
      if (new TextDecoder().decode(chunk).includes("up")) return;
    throw new Error("the script did not start");
  }

  test("kills everything and removes the directory when the script is killed", async () => {
    const child = startScript("");
    await whenUp(child);
    await until(() => marked(mark).length === 2);
    child.kill("SIGKILL");
    await until(() => !existsSync(dir));
    expect(marked(mark)).toEqual([]);
  });

  test("does nothing once dismissed", async () => {
    const child = startScript("guard.dismiss(); await Bun.sleep(200);");
    await whenUp(child);
    child.kill("SIGKILL");
    await child.exited;
    await Bun.sleep(500);
    expect(existsSync(dir)).toBe(true);
    expect(marked(mark)).toHaveLength(2);
  });

  test("kills the processes it was told about, but not one that reuses the pid of an ended process", async () => {
    const [innocent, left] = [Bun.spawn(["sleep", "100"]), Bun.spawn(["sleep", "100"])];
    const lines = `started ${innocent.pid}\nstarted ${left.pid}\nended ${innocent.pid}\n`;
    const guard = Bun.spawn(["sh", join(import.meta.dir, "guard.sh"), mark, ""], {
      stdin: new TextEncoder().encode(lines),
    });
    await Promise.all([guard.exited, left.exited]);
    expect(left.signalCode).toBe("SIGKILL");
    expect(innocent.signalCode).toBeNull();
    innocent.kill();
    await innocent.exited;
    expect(existsSync(dir)).toBe(true);
  });
});

test("variables of package runners and of the user's own fleet are not passed on", () => {
  const env = {
    PATH: "/repo/node_modules/.bin:/usr/bin:/cache/_npx/1/node_modules/.bin:/bin",
    HOME: "/home/me",
    FLEET_COORDINATOR_URL: "http://real",
    npm_config_cache: "/c",
    BUN_BE_BUN: "1",
  };
  expect(cleanEnvironment(env)).toEqual({ PATH: "/usr/bin:/bin", HOME: "/home/me" });
});
