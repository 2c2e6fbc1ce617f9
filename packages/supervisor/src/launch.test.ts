import { afterAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { launchArguments, locateProgram } from "./launch.ts";
import { createSpawn, SpawnError } from "./spawn.ts";

const dir = mkdtempSync(join(tmpdir(), "supervisor-launch-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe("the launcher's arguments (A10)", () => {
  test("list every setting, with CPU time in whole seconds", () => {
    const limits = {
      openFiles: 64,
      processes: 8,
      memoryBytes: 2 ** 40,
      cpuMs: 1001,
      fileBytes: 0,
      coreBytes: 0,
    };
    expect(launchArguments({ uid: 0, gid: 5, limits })?.join(" ")).toBe(
      "nofile 64 nproc 8 as 1099511627776 cpu 2 fsize 0 core 0 uid 0 gid 5 --",
    );
  });

  test("set the OOM score of an expendable process", () => {
    const words = launchArguments({ limits: { coreBytes: 0 }, isExpendable: true });
    expect(words?.join(" ")).toBe("oom 1000 core 0 --");
    expect(launchArguments({ isExpendable: true })).toBeUndefined();
  });

  test.each([{}, { limits: {} }, { limits: { openFiles: undefined } }])(
    "are not needed for %j",
    (settings) => {
      expect(launchArguments(settings)).toBeUndefined();
    },
  );
});

describe("the program of a launch", () => {
  test("is searched on the PATH of its environment, from its working directory", () => {
    writeFileSync(join(dir, "tool"), "#!/bin/sh\n");
    chmodSync(join(dir, "tool"), 0o755);
    expect(locateProgram(["tool", "-x"], { PATH: `/nowhere:${dir}` }, undefined)).toEqual([
      join(dir, "tool"),
      "-x",
    ]);
    expect(locateProgram(["tool"], { PATH: "/nowhere" }, undefined)).toBeUndefined();
    expect(locateProgram(["tool"], {}, undefined)).toBeUndefined();
  });

  test("is used unchanged when it is a path", () => {
    expect(locateProgram(["/bin/sh"], {}, undefined)).toEqual(["/bin/sh"]);
    expect(locateProgram(["./sh"], {}, "/bin")).toEqual(["./sh"]);
    expect(locateProgram(["/no/such"], {}, undefined)).toBeUndefined();
  });
});

describe("a process with limits", () => {
  const request = { command: ["sh"], env: { PATH: "/usr/bin:/bin" }, limits: { openFiles: 9 } };

  test("is started as the launcher, with its arguments", async () => {
    const launcher = join(dir, "launcher");
    writeFileSync(launcher, `#!/bin/sh\necho "$@"\n`);
    chmodSync(launcher, 0o755);
    const child = createSpawn(launcher)(request);
    const chunk = await child.stdout.read();
    expect(new TextDecoder().decode(chunk)).toMatch(/^nofile 9 -- \/(usr\/)?bin\/sh\n$/);
    expect(await child.exited).toEqual({ code: 0, signal: undefined });
    child.stdout.close();
    child.stderr.close();
  });

  test("cannot be started without a launcher or without its program", () => {
    const errnoOf = (work: () => unknown) => {
      try {
        work();
        return undefined;
      } catch (error) {
        return error instanceof SpawnError ? [error.errno, error.message] : error;
      }
    };
    expect(errnoOf(() => createSpawn(undefined)(request))).toEqual([
      "ENOSYS",
      "only a static build can set a user or limits for a process",
    ]);
    const lost = { ...request, command: ["no-such-program"] };
    expect(errnoOf(() => createSpawn("/bin/true")(lost))).toEqual([
      "ENOENT",
      '"no-such-program" was not found in PATH',
    ]);
  });
});
