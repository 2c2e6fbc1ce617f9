/** Runs the command `static-elf`. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compileProbe, run } from "./build-probe.ts";

const dir = mkdtempSync(join(tmpdir(), "static-elf-command-"));
const MAIN = join(import.meta.dirname, "../src/main.ts");
let program: string;
beforeAll(async () => {
  program = await compileProbe(dir);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const staticElf = (...args: readonly string[]) => run([process.execPath, MAIN, ...args]);

test("--help prints the usage", async () => {
  const { out, code } = await staticElf("--help");
  expect(code).toBe(0);
  expect(out).toStartWith("usage: static-elf INPUT -o OUTPUT");
});

test("it links, lists the parts, and the output runs", async () => {
  const output = join(dir, "out");
  const { out, err, code } = await staticElf(program, "-o", output);
  expect({ err, code }).toEqual({ err: "", code: 0 });
  expect(out).toMatch(/^\+ stub .*KiB\n\+ ld-linux.*\n\+ libc\.so\.6 .*[^]*KiB\n$/);
  expect(statSync(output).mode & 0o777).toBe(0o755);
  expect((await run([output, "timers"])).json).toEqual(["soon", "later"]);
  const { stdout } = Bun.spawnSync(["grep", "-c", "fleet-static-elf", output]);
  expect(Number(stdout.toString())).toBeGreaterThan(0);
});

test("it links in place while the program runs, and rejects a linked file", async () => {
  const file = join(dir, "in-place");
  writeFileSync(file, readFileSync(program), { mode: 0o755 });
  const running = Bun.spawn([file, "stdio", "0"], {
    stdin: "pipe",
    stdout: "pipe",
    stderr: "ignore",
  });
  expect(await staticElf(file, "-o", file, "--quiet")).toMatchObject({ out: "", err: "", code: 0 });
  await running.stdin.end();
  expect(await running.exited).toBe(0);
  expect((await run([file, "timers"])).json).toEqual(["soon", "later"]);
  const again = await staticElf(file, "-o", file);
  expect(again).toMatchObject({ err: `static-elf: ${file} is already linked\n`, code: 1 });
  expect(readdirSync(dir).filter((name) => name.startsWith("in-place"))).toEqual(["in-place"]);
});

test.each([
  [[], "expected one INPUT and -o OUTPUT"],
  [["a"], "expected one INPUT and -o OUTPUT"],
  [["a", "b", "-o", "c"], "expected one INPUT and -o OUTPUT"],
  [["--nonsense"], "--nonsense"],
])("wrong usage exits with 64: %p", async (args, says) => {
  const { err, code } = await staticElf(...args);
  expect(code).toBe(64);
  expect(err).toMatch(/^static-elf: .*\n$/);
  expect(err).toContain(says);
});

test("each error is one line and exit code 1, and leaves no output", async () => {
  const output = join(dir, "refused");
  for (const [args, says] of [
    [[join(dir, "none")], "can't read"],
    [[dir], "can't read"],
    [[MAIN], "is not an ELF file"],
    [["/bin/sh"], "is position-independent"],
    [[program, "--library-dir", dir], "was not found in"],
    [[program, "--compiler", "no-such-cc"], "no C compiler"],
  ] as const) {
    const { out, err, code } = await staticElf(...args, "-o", output);
    expect({ out, code }).toEqual({ out: "", code: 1 });
    expect(err).toMatch(/^static-elf: .*\n$/);
    expect(err).toContain(says);
  }
  const nowhere = await staticElf(program, "-o", join(dir, "no/such/dir/out"));
  expect(nowhere.err).toMatch(/^static-elf: can't write .*\n$/);
  expect(readdirSync(dir)).not.toContain("refused");
});
