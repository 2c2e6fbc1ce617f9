import { afterEach, beforeEach, expect, test } from "bun:test";
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { tryLock } from "./file-lock.ts";

let dir: string;
let path: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "lock-"));
  path = join(dir, "file");
  writeFileSync(path, "");
});

afterEach(() => rmSync(dir, { recursive: true }));

test("a file is locked by one open descriptor until that is closed", () => {
  const [first, second] = [openSync(path, "r"), openSync(path, "r")];
  expect(tryLock(first)).toBe("locked");
  expect(tryLock(second)).toBe("busy");
  closeSync(first);
  expect(tryLock(second)).toBe("locked");
  closeSync(second);
});

test("the lock of a process ends with it, and not before", async () => {
  const script = `import { openSync } from "node:fs";
    import { tryLock } from ${JSON.stringify(join(import.meta.dir, "file-lock.ts"))};
    console.log(tryLock(openSync(process.argv[1], "r")));
    setInterval(() => {}, 1000);`;
  const child = Bun.spawn([process.execPath, "-e", script, path], { stdout: "pipe" });
  const { value } = await child.stdout.getReader().read();
  expect(new TextDecoder().decode(value)).toBe("locked\n");
  const fd = openSync(path, "r");
  expect(tryLock(fd)).toBe("busy");
  child.kill("SIGKILL");
  await child.exited;
  expect(tryLock(fd)).toBe("locked");
  closeSync(fd);
});

test("a file that can't be locked is not mistaken for a held lock", () => {
  const fd = openSync(path, "r");
  closeSync(fd);
  expect(tryLock(fd)).toBe("unsupported");
});
