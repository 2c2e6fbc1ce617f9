/** Tests that nothing is left of an engine when its tests are killed. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "bun:test";
import { CACHE, until } from "./engine.ts";

const PROGRAM = `
import { Engine } from ${JSON.stringify(join(import.meta.dir, "engine.ts"))};
import { build } from ${JSON.stringify(join(import.meta.dir, "stock.ts"))};
const engine = await Engine.start();
await build(engine, "sleeper", ["FROM scratch", "COPY busybox /"], { busybox: Bun.which("busybox") });
await engine.docker("run", "--detach", "--name=sleeper", "--publish=127.0.0.1:17701:1", "sleeper", "/busybox", "sleep", "1000");
console.log(await engine.ofInit("sleeper", "comm"));
await new Promise(() => {});
`;

export function testEngineEnd(): void {
  test("nothing is left of an engine when its tests are killed", async () => {
    const child = Bun.spawn([process.execPath, "-e", PROGRAM], {
      cwd: "/",
      stdio: ["pipe", "pipe", "inherit"],
    });
    const { value } = await child.stdout.getReader().read();
    expect(new TextDecoder().decode(value)).toBe("busybox\n");
    const dir = join(CACHE, `running-${child.pid}`);
    expect(traces(dir, child.pid)).not.toEqual([]);
    child.kill("SIGKILL");
    await child.exited;
    await until("the engine is gone", () => traces(dir, child.pid).length === 0);
  });
}

/** Returns what is left of an engine: files, processes, mounts and control groups. */
function traces(dir: string, pid: number): readonly string[] {
  const groups = [`/sys/fs/cgroup/memory/fleet-test-${pid}`, `/sys/fs/cgroup/fleet-test-${pid}`];
  const processes = readdirSync("/proc").filter(
    (name) => /^\d+$/.test(name) && read(`/proc/${name}/cmdline`).includes(dir),
  );
  const mounts = read("/proc/self/mountinfo").includes(dir) ? ["mounts"] : [];
  return [...[dir, ...groups].filter((path) => existsSync(path)), ...processes, ...mounts];
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // The process has just ended.
  }
}
