/** Called as the launcher, a linked file sets limits and the user, and executes another program. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildProbe } from "./build-probe.ts";

const dir = mkdtempSync(join(tmpdir(), "static-elf-launch-"));
const asRoot = test.skipIf(process.getuid?.() !== 0);
let file: string;
beforeAll(async () => {
  chmodSync(dir, 0o755);
  ({ linked: file } = await buildProbe(dir));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function launch(words: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const { stdout, stderr, exitCode } = Bun.spawnSync([file, ...words], {
    argv0: "fleet-launch",
    env: { ...env },
    cwd: "/",
  });
  return { out: stdout.toString(), err: stderr.toString(), code: exitCode };
}

const sh = (script: string): string[] => ["--", "/bin/sh", "-c", script];

test("it passes on arguments, environment and exit code unchanged", () => {
  const script = 'printf "%s|" "$0" "$@" "$LD_FLEET" "$NODE_OPTIONS"; exit 7';
  const run = launch([...sh(script), "a", "", "b c"], { LD_FLEET: "1", NODE_OPTIONS: "--x" });
  expect(run).toEqual({ out: "a||b c|1|--x|", err: "", code: 7 });
});

describe("limits (A10)", () => {
  test("each is set, soft and hard", () => {
    const limits = "nofile 64 nproc 5000 as 8589934592 cpu 100 fsize 1048576 core 0".split(" ");
    const { out } = launch([...limits, "--", "/bin/cat", "/proc/self/limits"]);
    const of = (name: string) => new RegExp(`^${name} +(\\S+) +(\\S+)`, "m").exec(out)?.slice(1);
    expect(of("Max open files")).toEqual(["64", "64"]);
    expect(of("Max processes")).toEqual(["5000", "5000"]);
    expect(of("Max address space")).toEqual(["8589934592", "8589934592"]);
    expect(of("Max cpu time")).toEqual(["100", "100"]);
    expect(of("Max file size")).toEqual(["1048576", "1048576"]);
    expect(of("Max core file size")).toEqual(["0", "0"]);
  });
});

test("it sets the OOM score", () => {
  const { out } = launch(["oom", "1000", "--", "/bin/cat", "/proc/self/oom_score_adj"]);
  expect(out).toBe("1000\n");
});

describe("another user (A10)", () => {
  asRoot("has only its ids: no supplementary groups, no capabilities, and no way back", () => {
    const { out } = launch(["uid", "65534", "gid", "65533", "--", "/bin/cat", "/proc/self/status"]);
    const of = (name: string) => new RegExp(`^${name}:[\\t ]*(.*?)\\s*$`, "m").exec(out)?.[1];
    expect(of("Uid")).toBe("65534\t65534\t65534\t65534");
    expect(of("Gid")).toBe("65533\t65533\t65533\t65533");
    expect(of("Groups")).toBe("");
    expect(of("CapPrm")).toMatch(/^0+$/);
    expect(of("CapEff")).toMatch(/^0+$/);
    expect(of("CapAmb")).toMatch(/^0+$/);
    // Not through a set-user-ID file either.
    expect(of("NoNewPrivs")).toBe("1");
  });

  asRoot("does not keep the ambient capabilities of a launcher without root", () => {
    const caps = "+setuid,+setgid,+net_raw";
    const owner = ["--reuid=1", "--regid=1", "--clear-groups", `--inh-caps=${caps}`];
    const words = `uid 2 gid 2 -- /bin/grep ^Cap[PEA] /proc/self/status`;
    const asAnother = ["setpriv", ...owner, `--ambient-caps=${caps}`, "bash", "-c"];
    const { stdout, stderr } = Bun.spawnSync([
      ...asAnother,
      `exec -a fleet-launch ${file} ${words}`,
    ]);
    expect(stderr.toString()).toBe("");
    expect(stdout.toString()).toMatch(/^(Cap(Prm|Eff|Amb):\t0+\n){3}$/);
  });

  test("is not needed for limits alone, which do not set no_new_privs", () => {
    const { out } = launch(["nofile", "64", "--", "/bin/grep", "^NoNewPrivs", "/proc/self/status"]);
    const own = /^NoNewPrivs:\t\d$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[0];
    expect(out).toBe(`${own}\n`);
  });

  asRoot("that cannot be set is an error, and nothing is run", () => {
    const inner = [file, "uid", "1", "gid", "1", ...sh("echo ran")].slice(1);
    const nested = ["uid", "65534", "gid", "65534", "--", "/bin/bash", "-c"];
    const { out, err, code } = launch([
      ...nested,
      `exec -a fleet-launch ${file} ${inner.map((word) => `'${word}'`).join(" ")}`,
    ]);
    expect({ out, err, code }).toEqual({
      out: "",
      err: "fleet-launch: can't change to another user: errno 1\n",
      code: 126,
    });
  });
});

test.each([
  ["a missing program", ["--", "/no/such"], 127, "can't run /no/such: errno 2"],
  ["a file that is not executable", ["--", "/etc/passwd"], 126, "can't run /etc/passwd: errno 13"],
  ["no program", ["--"], 126, "no program to run"],
  ["no arguments", [], 126, "no program to run"],
  ["an unknown setting", ["nice", "1", ...sh("")], 126, "unknown setting: nice"],
  ["a setting without a value", ["nofile"], 126, "no value for nofile"],
  ["an invalid number", ["nofile", "-1", ...sh("")], 126, "not a number: -1"],
  ["a number too large", ["as", "99999999999999999999", ...sh("")], 126, "not a number: 9"],
  ["a user without a group", ["uid", "1", ...sh("")], 126, "uid and gid must be set together"],
  ["a very long name", ["--", `/${"x".repeat(3000)}`], 126, "can't run /xxx"],
] as const)("%s is reported in one line", (_what, words, code, message) => {
  const run = launch(words);
  expect({ out: run.out, code: run.code }).toEqual({ out: "", code });
  expect(run.err).toStartWith(`fleet-launch: ${message}`);
  expect(run.err).toMatch(/^[^\n]{1,600}\n$/);
});
