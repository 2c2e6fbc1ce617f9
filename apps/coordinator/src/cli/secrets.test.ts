import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exitCodeFor } from "./exit-codes.ts";
import { describeSecrets, makeSecret, SECRET_NAMES, SecretsError } from "./secrets.ts";

const MAIN = join(import.meta.dirname, "../main.ts");
const MODE = 0o444;
const RUNS = 8;
const NOBODY = 65_534;

let top: string;
let a: string;
let b: string;
let c: string;

beforeEach(() => {
  top = mkdtempSync(join(tmpdir(), "secrets-"));
  chmodSync(top, 0o755);
  [a, b, c] = [join(top, "a"), join(top, "b"), join(top, "c")];
  for (const dir of [a, b, c]) mkdirSync(dir);
});

afterEach(() => rmSync(top, { recursive: true }));

const makeAll = (dir: string): void => {
  for (const name of SECRET_NAMES) makeSecret(name, [dir], MODE);
};

const read = (...parts: string[]): string => readFileSync(join(...parts), "utf8");

async function run(
  args: readonly string[],
  uid = process.getuid!(),
): Promise<{ readonly code: number; readonly out: string; readonly err: string }> {
  const child = Bun.spawn([process.execPath, MAIN, "secrets", ...args], {
    env: { PATH: process.env["PATH"] ?? "" },
    stdio: ["ignore", "pipe", "pipe"],
    ...(uid === process.getuid!() ? {} : { uid, gid: uid }),
  });
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { code, out, err };
}

function failure(dirs: readonly string[]): SecretsError {
  try {
    makeSecret("enroll_token", dirs, MODE);
  } catch (error) {
    if (error instanceof SecretsError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("secrets (H1, H5)", () => {
  test("creates missing files, each with a token and a line feed, and with the requested mode whatever the umask", async () => {
    const before = process.umask(0o077);
    makeAll(a);
    process.umask(before);
    const tokens = SECRET_NAMES.map((name) => read(a, name));
    for (const token of tokens) expect(token).toMatch(/^fle_[eop]_[A-Za-z0-9]{43}\n$/);
    expect(new Set(tokens).size).toBe(SECRET_NAMES.length);
    for (const name of SECRET_NAMES) expect(statSync(join(a, name)).mode & 0o777).toBe(MODE);
    expect(readdirSync(a).toSorted()).toEqual([...SECRET_NAMES]);
  });

  test("never overwrites a file, whoever created it", () => {
    writeFileSync(join(a, "push_token"), "mine");
    makeAll(a);
    const before = SECRET_NAMES.map((name) => read(a, name));
    expect(before.at(-1)).toBe("mine");
    makeAll(a);
    expect(SECRET_NAMES.map((name) => read(a, name))).toEqual(before);
  });

  test("puts the same token into several directories, whichever of them has it already", () => {
    makeSecret("enroll_token", [b], MODE);
    const first = makeSecret("enroll_token", [a, b], MODE);
    expect(first).toEqual({
      created: [join(a, "enroll_token")],
      existing: [join(b, "enroll_token")],
    });
    makeSecret("operator_token", [b, a], MODE);
    for (const name of ["enroll_token", "operator_token"])
      expect(read(a, name)).toBe(read(b, name));
    expect(readdirSync(b)).not.toContain("push_token");
    expect(describeSecrets([first])).toBe(
      `created ${a}/enroll_token; already present: ${b}/enroll_token`,
    );
  });

  test("settles on one token when many runs name the directories in different orders at once", async () => {
    const results = await Promise.all(
      Array.from({ length: RUNS }, (_, n) => run(n % 2 === 0 ? [a, b] : [b, "--agents", c, a])),
    );
    for (const { code, err } of results) expect([code, err]).toEqual([0, ""]);
    for (const name of SECRET_NAMES) {
      expect(read(a, name)).toBe(read(b, name));
      if (name === "enroll_token") expect(read(c, name)).toBe(read(a, name));
      const makers = results.filter(
        ({ out }) => out.split(";")[0]!.includes(join(a, name)) && out.startsWith("created"),
      );
      expect(makers).toHaveLength(1);
    }
    expect(readdirSync(a).toSorted()).toEqual([...SECRET_NAMES]);
    expect(readdirSync(c)).toEqual(["enroll_token"]);
    expect(JSON.stringify(results)).not.toContain(read(a, "enroll_token").trim());
  });

  test("refuses tokens that differ, and a file without a token", () => {
    writeFileSync(join(a, "enroll_token"), "x");
    writeFileSync(join(b, "enroll_token"), "y");
    expect([failure([a, b]).code, failure([a, b]).message]).toEqual([
      "secrets_conflict",
      `enroll_token differs between ${a} and ${b}; remove the wrong file and run this again`,
    ]);
    writeFileSync(join(b, "enroll_token"), " \n");
    expect(failure([b]).message).toBe(
      `${b}/enroll_token holds no token; remove it and run this again to create one`,
    );
    expect(read(a, "enroll_token")).toBe("x");
  });

  test("names a path that is missing or is not a directory, and exits 66", async () => {
    const file = join(top, "file");
    writeFileSync(file, "");
    const [missing, none, usage, mode, only] = await Promise.all([
      run([join(top, "none")]),
      run([file]),
      run([]),
      run([a, "--mode", "0044"]),
      run(["--show", "password", a]),
    ]);
    expect([missing.code, missing.err]).toEqual([
      66,
      `fleet-coordinator: ${join(top, "none")} does not exist\n`,
    ]);
    expect(none.code).toBe(66);
    expect([usage.code, mode.code, only.code]).toEqual([64, 64, 64]);
    expect(only.err).toContain("enroll_token, operator_token, push_token");
    expect(readdirSync(a)).toEqual([]);
  });

  test("puts only the enrolment token into --agents, and sets --mode on the files", async () => {
    const { code, out } = await run([a, "--agents", b, "--mode", "0400"]);
    expect([code, out]).toEqual([
      0,
      `created ${a}/enroll_token, ${b}/enroll_token, ${a}/operator_token, ${a}/push_token\n`,
    ]);
    expect(readdirSync(b)).toEqual(["enroll_token"]);
    expect(statSync(join(b, "enroll_token")).mode & 0o777).toBe(0o400);
  });

  test("prints one token with --show and creates nothing", async () => {
    makeAll(a);
    const [shown, none] = await Promise.all([
      run(["--show", "operator_token", a]),
      run(["--show", "operator_token", b]),
    ]);
    expect(shown).toEqual({ code: 0, out: read(a, "operator_token"), err: "" });
    expect([none.code, none.out, none.err]).toEqual([
      1,
      "",
      `fleet-coordinator: there is no operator_token in ${b}; run secrets without --show to create it\n`,
    ]);
    expect(readdirSync(b)).toEqual([]);
  });

  test.skipIf(process.getuid!() !== 0)(
    "names the owner of a directory that it can't write, and its own user",
    () => {
      chownSync(a, 7, 7);
      process.seteuid!(NOBODY);
      try {
        const error = failure([a]);
        expect([error.code, exitCodeFor(error)]).toEqual(["secrets_permission", 77]);
        expect(error.message).toContain(`${a} belongs to uid 7 (mode 0755)`);
      } finally {
        process.seteuid!(0);
      }
      expect(readdirSync(a)).toEqual([]);
    },
  );
});
