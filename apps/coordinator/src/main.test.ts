import { describe, expect, test } from "bun:test";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { tempDir } from "./testing.ts";

const MAIN = join(import.meta.dirname, "main.ts");
const TOKENS = { FLEET_ENROLL_TOKEN: "enroll", FLEET_OPERATOR_TOKEN: "operator" };

interface Result {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

function start(
  args: readonly string[],
  env: Record<string, string> = {},
): Bun.Subprocess<"ignore", "pipe", "pipe"> {
  return Bun.spawn([process.execPath, MAIN, ...args], {
    env: { PATH: process.env["PATH"] ?? "", ...env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
}

async function run(args: readonly string[], env: Record<string, string> = {}): Promise<Result> {
  const child = start(args, env);
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { code, out, err };
}

/** Arguments of a coordinator that can start: a tracker that exists, any ports. */
function serveArgs(dir: string, ...more: readonly string[]): string[] {
  const config = join(dir, "coordinator.yaml");
  writeFileSync(config, `tracker: { command: [fleet-tracker] }\noutput: { dir: ${dir}/tracks }\n`);
  return ["serve", "--config", config, "--data-dir", join(dir, "data"), ...more];
}

const ANY = ["--http", "127.0.0.1:0", "--frames", "127.0.0.1:0"];

describe("the command line", () => {
  test("prints help with exit code 0, and usage errors with 64", async () => {
    const [help, serveHelp, version, nothing, unknown, flag, port, level] = await Promise.all([
      run(["--help"]),
      run(["serve", "--help"]),
      run(["--version"]),
      run([]),
      run(["dance"]),
      run(["serve", "--colour", "red"]),
      run(["serve", "--http", "127.0.0.1"]),
      run(["serve", "--log-level", "loud"]),
    ]);
    expect([help.code, serveHelp.code, version.code]).toEqual([0, 0, 0]);
    expect(help.out).toContain("serve");
    for (const name of ["--config", "--data-dir", "--http", "--frames", "--insecure-dev"])
      expect(serveHelp.out).toContain(name);
    expect(version.out.trim()).toBe("0.0.0-source");
    for (const result of [nothing, unknown, flag, port, level]) expect(result.code).toBe(64);
    expect(port.err).toContain("HOST:PORT");
    expect(level.err).toContain("trace, debug, info");
  });

  test("check-config lists every problem and exits 78, or prints ok", async () => {
    using dir = tempDir();
    const [good, bad] = [join(dir.path, "good.yaml"), join(dir.path, "bad.yaml")];
    writeFileSync(good, "http: { port: 7701 }\n");
    writeFileSync(bad, "http: { prt: 1 }\nregistry: { stale_after: soon }\n");
    const [ok, refused, none] = await Promise.all([
      run(["check-config", good]),
      run(["check-config", bad]),
      run(["check-config", join(dir.path, "none.yaml")]),
    ]);
    expect(ok).toEqual({ code: 0, out: `${good}: ok\n`, err: "" });
    expect([refused.code, none.code]).toEqual([78, 78]);
    expect(refused.err).toContain("http.prt: unknown key");
    expect(refused.err).toContain("registry.stale_after");
    expect(none.err).toContain("none.yaml");
    expect(none.err.split("\n").some((l) => l.trim().startsWith("at "))).toBe(false);
  });
});

describe("serve", () => {
  test("refuses to start without tokens, with one token for two kinds, or without a tracker (H5)", async () => {
    using dir = tempDir();
    const args = serveArgs(dir.path, ...ANY);
    const [none, same, alike, file, noTracker] = await Promise.all([
      run(args),
      run(args, { ...TOKENS, FLEET_PUSH_TOKEN: "enroll" }),
      run(args, { FLEET_ENROLL_TOKEN: "x", FLEET_OPERATOR_TOKEN: "x" }),
      run(args, { ...TOKENS, FLEET_ENROLL_TOKEN: "", FLEET_ENROLL_TOKEN_FILE: "/none" }),
      run(["serve", "--data-dir", join(dir.path, "data"), ...ANY], { ...TOKENS, PATH: "/none" }),
    ]);
    for (const result of [none, same, alike, file, noTracker]) expect(result.code).toBe(78);
    expect(none.err).toContain("FLEET_ENROLL_TOKEN:");
    expect(none.err).toContain("FLEET_OPERATOR_TOKEN:");
    expect(same.err).toContain("FLEET_PUSH_TOKEN:");
    expect(alike.err).toContain("FLEET_ENROLL_TOKEN:");
    expect(file.err).toContain("/none");
    expect(noTracker.err).toContain("tracker.command");
  });

  test("starts with tokens created in its data directory, even if they have expired (H5)", async () => {
    using dir = tempDir();
    const data = ["--data-dir", join(dir.path, "data")];
    const made = ["token", "create"];
    await run([...made, "a", "--kind", "enroll", "--expires", "1ms", ...data]);
    const boss = await run([...made, "b", "--kind", "operator", "--role", "admin", ...data]);
    const child = start(serveArgs(dir.path, ...ANY));
    const [, port] = await readUntil(child.stderr, /"http_port":(\d+).*"msg":"ready"/);
    const url = `http://127.0.0.1:${port}`;
    const listed = await run(["token", "list", "--url", url], {
      FLEET_OPERATOR_TOKEN: boss.out.trim(),
    });
    expect(listed.out).toMatch(/^a +enroll +- +EXPIRED/m);
    child.kill("SIGTERM");
    await child.exited;
  });

  test("accepts the previous token of each kind, and warns of tokens short enough to be guessed (H5)", async () => {
    using dir = tempDir();
    const long = "0123456789abcdef0123456789abcdef";
    const child = start(serveArgs(dir.path, ...ANY), {
      FLEET_ENROLL_TOKEN: long,
      FLEET_ENROLL_TOKEN_PREVIOUS: "enroll-before",
      FLEET_OPERATOR_TOKEN: `${long}o`,
      FLEET_OPERATOR_TOKEN_PREVIOUS: `${long}p`,
      FLEET_PUSH_TOKEN: `${long}q`,
      FLEET_PUSH_TOKEN_PREVIOUS: `${long}r`,
    });
    const [, tokens, port] = await readUntil(
      child.stderr,
      /"tokens":(\[[^\]]*\]),"msg":"tokens of fewer[^]*"http_port":(\d+).*"msg":"ready"/,
    );
    expect(tokens).toBe('["env:FLEET_ENROLL_TOKEN_PREVIOUS"]');
    const nameOf = async (token: string): Promise<unknown> => {
      const response = await fetch(`http://127.0.0.1:${port}/api/v1/auth/whoami`, {
        headers: { Authorization: `Bearer ${token}` },
      });
      return ((await response.json()) as { name?: unknown }).name;
    };
    expect(await Promise.all(["enroll-before", `${long}p`, `${long}r`].map(nameOf))).toEqual([
      "env:FLEET_ENROLL_TOKEN_PREVIOUS",
      "env:FLEET_OPERATOR_TOKEN_PREVIOUS",
      "env:FLEET_PUSH_TOKEN_PREVIOUS",
    ]);
    child.kill("SIGTERM");
    await child.exited;
  });

  test("names a port that is in use and the flag that changes it, and exits 1", async () => {
    using dir = tempDir();
    const taken = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    const address = `127.0.0.1:${taken.port}`;
    const [http, frames] = await Promise.all(
      ["http", "frames"].map((flag) => {
        const sub = join(dir.path, flag);
        mkdirSync(sub);
        const other = flag === "http" ? "--frames" : "--http";
        return run(serveArgs(sub, `--${flag}`, address, other, "127.0.0.1:0"), TOKENS);
      }),
    );
    taken.stop(true);
    expect(http?.code).toBe(1);
    expect(http?.err).toContain(
      `HTTP on ${address}: the port is in use (choose another with --http HOST:PORT`,
    );
    expect(frames?.code).toBe(1);
    expect(frames?.err).toContain(
      `frames on ${address}: the port is in use (choose another with --frames HOST:PORT`,
    );
  });

  test("runs until SIGTERM, answers health, locks its data directory, and exits 143", async () => {
    using dir = tempDir();
    const args = serveArgs(dir.path, ...ANY);
    const child = start(args, TOKENS);
    const ready = await readUntil(child.stderr, /"http_port":(\d+).*"msg":"ready"/);
    const url = `http://127.0.0.1:${ready[1]}`;
    const [well, second] = await Promise.all([run(["health", "--url", url]), run(args, TOKENS)]);
    expect(well.code).toBe(0);
    expect(well.out).toBe("ok\n");
    expect(second.code).toBe(75);
    expect(second.err).toContain("in use by another coordinator");
    child.kill("SIGTERM");
    expect(await child.exited).toBe(143);
    expect((await run(["health", "--url", url])).code).toBe(1);
  });

  test("listens on loopback without tokens, even with a config file that names no host", async () => {
    using dir = tempDir();
    const child = start([...serveArgs(dir.path), "--insecure-dev", "--http", "127.0.0.1:0"]);
    const listening = await readUntil(
      child.stderr,
      /"host":"([^"]+)"[^\n]*frames: |frames on ([^:]+):/,
    );
    child.kill("SIGINT");
    await child.exited;
    // Somebody may have the default port here; then the message says where it was asked for.
    expect(listening[1] ?? listening[2]).toBe("127.0.0.1");
  });

  test("offers the agents in FLEET_AGENT_BINARIES or the config, to everybody with --insecure-dev (H8)", async () => {
    using dir = tempDir();
    for (const name of ["variable", "file"]) {
      mkdirSync(join(dir.path, name, "x86_64"), { recursive: true });
      writeFileSync(join(dir.path, name, "x86_64", "fleet-agent"), name);
    }
    const config = join(dir.path, "c.yaml");
    const offered = async (env: Record<string, string>): Promise<string> => {
      const file = `tracker: { command: [fleet-tracker] }\nagent_binaries: ${dir.path}/file\n`;
      writeFileSync(config, file);
      const args = ["serve", "--data-dir", ":memory:", "--insecure-dev", ...ANY];
      const child = start(args, { FLEET_COORDINATOR_CONFIG: config, ...env });
      const ready = await readUntil(child.stderr, /"http_port":(\d+).*"msg":"ready"/);
      const url = `http://127.0.0.1:${ready[1]}/api/v1/agent/binary?arch=amd64`;
      const text = await (await fetch(url)).text();
      child.kill("SIGTERM");
      await child.exited;
      return text;
    };
    const variable = { FLEET_AGENT_BINARIES: join(dir.path, "variable") };
    expect(await Promise.all([offered({}), offered(variable)])).toEqual(["file", "variable"]);
  });

  test("finds the tracker beside itself or on PATH", async () => {
    using dir = tempDir();
    symlinkSync("/bin/true", join(dir.path, "fleet-tracker"));
    const args = ["serve", "--data-dir", join(dir.path, "data"), ...ANY];
    const child = start(args, { ...TOKENS, PATH: dir.path });
    await readUntil(child.stderr, /"msg":"ready"/);
    child.kill("SIGINT");
    expect(await child.exited).toBe(130);
  });
});

describe("backup and restore (H10)", () => {
  test("backup works while the coordinator runs; restore needs it stopped, and --force", async () => {
    using dir = tempDir();
    const [data, file] = [join(dir.path, "data"), join(dir.path, "fleet.backup")];
    const child = start(serveArgs(dir.path, ...ANY), TOKENS);
    await readUntil(child.stderr, /"msg":"ready"/);
    const made = await run(["backup", file, "--data-dir", data]);
    expect([made.code, made.err]).toEqual([0, ""]);
    expect(made.out).toMatch(
      /^\S+fleet\.backup: 0 nodes, jwt\.key, \d+ bytes, written 20.*Z by version /,
    );
    const restore = (...more: string[]): Promise<Result> => run(["restore", file, ...more]);
    const busy = await restore("--data-dir", data, "--force");
    expect([busy.code, busy.out]).toEqual([75, ""]);
    child.kill("SIGTERM");
    await child.exited;
    const unforced = await restore("--data-dir", data);
    expect([unforced.code, unforced.out]).toEqual([1, ""]);
    expect(unforced.err).toContain("--force");
    const forced = await restore("--data-dir", data, "--force");
    expect(forced.code).toBe(0);
    expect(forced.out).toContain("the previous files are in ");
  });

  test("serve exits 65 on a damaged database and names the remedy", async () => {
    using dir = tempDir();
    const data = join(dir.path, "data");
    mkdirSync(data);
    const file = join(data, "coordinator.db");
    writeFileSync(file, "this is not a database at all, but text");
    const refused = await run(serveArgs(dir.path, ...ANY), TOKENS);
    expect(refused.code).toBe(65);
    expect(refused.err).toStartWith(`fleet-coordinator: ${file} is damaged`);
    expect(refused.err).toContain("restore FILE");
    expect(refused.err.trim().split("\n")).toHaveLength(1);
  });
});

async function readUntil(
  stream: ReadableStream<Uint8Array>,
  pattern: RegExp,
): Promise<RegExpExecArray> {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const match = pattern.exec(text);
    if (match !== null) {
      reader.releaseLock();
      return match;
    }
    const { done, value } = await reader.read();
    if (done) throw new Error(`ended without ${pattern}: ${text}`);
    text += decoder.decode(value, { stream: true });
  }
}
