import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Check } from "./check.ts";
import { checkStateDir } from "./check-state-dir.ts";

const NOBODY = 65_534;
let base: string;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "doctor-"));
});

afterEach(() => rmSync(base, { recursive: true }));

/** The result of the check as another user. */
async function asNobody(path: string): Promise<Check[]> {
  const script = `import { checkStateDir } from ${JSON.stringify(join(import.meta.dir, "check-state-dir.ts"))};
    process.setgid(${NOBODY}); process.setuid(${NOBODY});
    console.log(JSON.stringify(await checkStateDir(process.argv[1])));`;
  const child = Bun.spawn([process.execPath, "-e", script, path], {
    stdout: "pipe",
    stderr: "inherit",
  });
  return JSON.parse(await child.stdout.text()) as Check[];
}

describe("the state directory (A9, A14)", () => {
  test("that can be written is tried for real, and left as it was", async () => {
    writeFileSync(join(base, "identity.json"), "{}");
    const [found] = await checkStateDir(base);
    expect(found).toMatchObject({ id: "state_dir", subject: base });
    expect(found?.status).not.toBe("fail");
    expect(found?.message).toContain("can be written");
    expect(found?.data?.["free_bytes"]).toBeGreaterThan(0);
    expect(readdirSync(base)).toEqual(["identity.json"]);
  });

  test("that is named and not there yet will be made by the agent, and is not made here", async () => {
    const path = join(base, "a", "b");
    const [found] = await checkStateDir(path);
    expect(found?.message).toContain("the agent will create it");
    expect(existsSync(join(base, "a"))).toBe(false);
  });

  test("in the place of which lies a file is wrong, as is one below a file", async () => {
    const path = join(base, "file");
    writeFileSync(path, "");
    expect(await checkStateDir(path)).toMatchObject([
      { status: "fail", message: "is not a directory" },
    ]);
    expect(await checkStateDir(join(path, "x"))).toMatchObject([{ status: "fail" }]);
  });

  test("in memory is a warning: it does not survive the container", async () => {
    const dir = mkdtempSync("/dev/shm/doctor-");
    try {
      const [found] = await checkStateDir(dir);
      expect(found).toMatchObject({ status: "warn", data: { fleeting: "tmpfs" } });
      expect(found?.remedy).toContain(`mount a volume at ${dir}`);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  test("on a file system that refuses writes is reported with the system's error", async () => {
    const [found] = await checkStateDir("/proc/self");
    expect(found).toMatchObject({ status: "fail", subject: "/proc/self" });
  });

  test("that everybody may write to is a warning", async () => {
    chmodSync(base, 0o777);
    const found = await checkStateDir(base);
    expect(found.at(-1)).toMatchObject({ status: "warn", remedy: `chmod o-w ${base}` });
  });

  test.skipIf(process.getuid?.() !== 0)(
    "of another user is named with whose it is and who we are",
    async () => {
      chmodSync(base, 0o755);
      const found = await asNobody(base);
      expect(found).toMatchObject([{ status: "fail", data: { owner: 0, uid: NOBODY } }]);
      expect(found[0]?.message).toBe(
        `${base} belongs to uid 0 (mode 0755) and can't be written by uid ${NOBODY}`,
      );
      expect(found[0]?.remedy).toContain(`chown ${NOBODY} ${base}`);
      const below = join(base, "closed", "state");
      mkdirSync(join(base, "closed"), { mode: 0o700 });
      expect((await asNobody(below))[0]).toMatchObject({ status: "fail", subject: below });
    },
  );
});
