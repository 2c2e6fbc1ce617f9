import { afterEach, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { quickHealthFlags } from "./health.ts";
import { tempDir } from "../testing.ts";

const MAIN = join(import.meta.dirname, "../main.ts");

const servers: Bun.Server<undefined>[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server.stop(true);
});

function serve(answer: () => Response | Promise<Response>): number {
  const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: answer });
  servers.push(server);
  return server.port!;
}

const wellServer = (): number => serve(() => Response.json({ status: "ok", version: "1" }));

async function ask(
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<{ readonly code: number; readonly out: string; readonly err: string }> {
  const child = Bun.spawn([process.execPath, MAIN, "health", ...args], {
    env: { PATH: process.env["PATH"] ?? "", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { code, out, err };
}

const OK = { code: 0, out: "ok\n", err: "" };

describe("health (H1)", () => {
  test("finds the coordinator by the flags, file and variable of serve; asks 0.0.0.0 on loopback", async () => {
    using dir = tempDir();
    const port = wellServer();
    const yaml = join(dir.path, "c.yaml");
    const toml = join(dir.path, "c.toml");
    const elsewhere = join(dir.path, "elsewhere.yaml");
    writeFileSync(yaml, `http: { port: ${port} }\n`);
    writeFileSync(elsewhere, "http: { port: 1 }\n");
    writeFileSync(toml, `[http]\nhost = "127.0.0.1"\nport = ${port}\n`);
    expect(
      await Promise.all([
        ask(["--http", `0.0.0.0:${port}`]),
        ask(["--http", `127.0.0.1:${port}`, "--config", elsewhere]),
        ask([`--config=${yaml}`]),
        ask([], { FLEET_COORDINATOR_CONFIG: toml }),
        ask(["--url", `http://127.0.0.1:${port}`]),
      ]),
    ).toEqual([OK, OK, OK, OK, OK]);
  });

  test("prints the reason in one line and exits 1", async () => {
    using dir = tempDir();
    const bad = join(dir.path, "bad.yaml");
    writeFileSync(bad, "http: { port: x }\n");
    const closed = wellServer();
    await servers.pop()!.stop(true);
    const busy = serve(() => new Response("", { status: 503 }));
    const other = serve(() => Response.json({ hello: "world" }));
    const text = serve(() => new Response("<html>"));
    const reasons: readonly [readonly string[], string][] = [
      [["--http", `0.0.0.0:${closed}`], `127.0.0.1:${closed}/healthz refuses the connection`],
      [["--http", `127.0.0.1:${busy}`], "responds with status 503"],
      [["--http", `127.0.0.1:${other}`], "is not a coordinator"],
      [["--http", `127.0.0.1:${text}`], "does not respond properly"],
      [["--http", "127.0.0.1:0"], "port 0 stands for any free port"],
      [["--config", join(dir.path, "none.yaml")], "none.yaml"],
      [["--config", bad], "http.port is not valid"],
      [["--url", "nowhere"], "--url nowhere is not a URL"],
    ];
    const answers = await Promise.all(reasons.map(([args]) => ask(args)));
    for (const [i, [, reason]] of reasons.entries()) {
      const { code, out, err } = answers[i]!;
      expect([code, out, err.split("\n").length]).toEqual([1, "", 2]);
      expect(err).toStartWith("fleet-coordinator: ");
      expect(err).toContain(reason);
    }
  });

  test("gives up on a server that accepts the connection and does not respond", async () => {
    const port = serve(() => new Promise<Response>(() => {}));
    const { code, err } = await ask(["--http", `127.0.0.1:${port}`]);
    expect([code, err]).toEqual([
      1,
      `fleet-coordinator: http://127.0.0.1:${port}/healthz does not respond within 3000 ms\n`,
    ]);
  });

  test("leaves help and usage errors to the full command line", async () => {
    for (const args of [
      ["health", "--help"],
      ["health", "--http", "x"],
      ["health", "y"],
      ["serve"],
      [],
    ])
      expect(quickHealthFlags(args, {})).toBeUndefined();
    expect(quickHealthFlags(["health"], {})).toBeDefined();
    const [help, wrong] = await Promise.all([ask(["--help"]), ask(["--http", "x"])]);
    expect([help.code, wrong.code]).toEqual([0, 64]);
    for (const name of ["--config", "--http", "--url"]) expect(help.out).toContain(name);
    expect(wrong.err).toContain("HOST:PORT");
  });
});
