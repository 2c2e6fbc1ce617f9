import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { FakeClock } from "@fleet/daemon/testing";
import type { AuditList, TokenList } from "@fleet/protocol";
import { Audit } from "../auth/audit.ts";
import { openDb } from "../db/open.ts";
import { Api, OPERATOR } from "../http/testing.ts";
import { RecordingLog, tempDir } from "../testing.ts";

const MAIN = join(import.meta.dirname, "../main.ts");

async function token(args: readonly string[], env: Record<string, string> = {}) {
  const child = Bun.spawn([process.execPath, MAIN, "token", ...args], {
    env: { PATH: process.env["PATH"] ?? "", ...env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { code, out, err };
}

describe("token, with a running coordinator (H2, H5)", () => {
  test("creates a token and prints only its secret, lists it, and revokes it by name", async () => {
    await using api = new Api();
    const env = { FLEET_COORDINATOR_URL: api.url(""), FLEET_OPERATOR_TOKEN: OPERATOR };
    const args = ["--kind", "push", "--nodes", "mast*", "hill?", "--expires", "90d"];
    const made = await token(["create", "hill", ...args], env);
    expect(made).toMatchObject({ code: 0, err: expect.stringContaining("hill  push") as string });
    expect(made.out).toMatch(/^fle_p_\w{43}\n$/);
    expect(api.auth.tokens.find("push", made.out.trim())).toMatchObject({
      name: "hill",
      nodes: ["mast*", "hill?"],
      expiresAt: api.clock.nowMs() + 90 * 86_400_000,
    });
    const listed = await token(["list"], env);
    expect(listed.out.split("\n")[4]).toMatch(/^hill +push +- +VALID +mast\*,hill\? +any +2026-/);
    expect(listed.out).not.toContain(made.out.trim());
    expect((await token(["revoke", "hill"], env)).code).toBe(0);
    expect(api.auth.tokens.find("push", made.out.trim())).toBeUndefined();
  });

  test("reads the operator's token from a file, and rotates the signing key", async () => {
    await using api = new Api();
    using dir = tempDir();
    const file = join(dir.path, "operator_token");
    writeFileSync(file, `${OPERATOR}\n`);
    const env = { FLEET_OPERATOR_TOKEN_FILE: file };
    expect((await token(["rotate-key", "--url", api.url("/")], env)).code).toBe(0);
    const [entry] = api.auth.audit.list(1).entries;
    expect(entry?.action).toBe("POST /api/v1/auth/rotate-key");
  });

  test("prints errors in one line, without the token", async () => {
    await using api = new Api();
    const env = { FLEET_COORDINATOR_URL: api.url(""), FLEET_OPERATOR_TOKEN: "not-the-token" };
    const results = await Promise.all([
      token(["list"], env),
      token(["list"], { FLEET_COORDINATOR_URL: api.url("") }),
      token(["list", "--url", "http://127.0.0.1:1"], env),
      token(["revoke", "nobody"], { ...env, FLEET_OPERATOR_TOKEN: OPERATOR }),
      token(["create", "a"], env),
      token(["create", "a", "--kind", "push", "--expires", "soon"], env),
      token(["create", "a", "--kind", "operator"], { ...env, FLEET_OPERATOR_TOKEN: OPERATOR }),
    ]);
    expect(results.map((r) => r.code)).toEqual([1, 78, 1, 1, 64, 64, 1]);
    const said = results.map((r) => r.err);
    expect(said[0]).toContain("answers 401 unauthorized");
    expect(said[1]).toContain("FLEET_OPERATOR_TOKEN");
    expect(said[2]).toContain("cannot be reached");
    expect(said[3]).toContain("no token is named nobody or has that id");
    expect(said[6]).toContain("role: is required");
    for (const text of said) expect(text).not.toContain("not-the-token");
  });
});

describe("token --data-dir (H5)", () => {
  test("does the same without a coordinator, and writes the audit log", async () => {
    using dir = tempDir();
    const at = ["--data-dir", dir.path];
    const args = ["create", "boss", "--kind", "operator", "--role", "admin", ...at];
    const made = await token(args);
    expect(made.out).toMatch(/^fle_o_\w{43}\n$/);
    expect((await token(args)).err).toContain("a token with this name already exists");
    const listed = JSON.parse((await token(["list", "--json", ...at])).out) as TokenList;
    expect(listed.tokens).toMatchObject([{ name: "boss", created_by: "command-line" }]);
    expect((await token(["revoke", "boss", ...at])).code).toBe(0);
    expect((await token(["rotate-key", ...at])).code).toBe(0);
    const opened = openDb(dir.path);
    const audit = new Audit(opened.db, new FakeClock(), new RecordingLog());
    const list: AuditList = audit.list(10);
    expect(list.entries.map((e) => [e.actor, e.action])).toEqual([
      ["command-line", "POST /api/v1/auth/rotate-key"],
      ["command-line", "DELETE /api/v1/tokens/:id"],
      ["command-line", "POST /api/v1/tokens"],
    ]);
    const busy = await token(["list", ...at]);
    opened.close();
    expect(busy.code).not.toBe(0);
    expect(busy.err).toContain("in use");
  });
});
