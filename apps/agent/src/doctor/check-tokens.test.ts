import { ApiClient } from "@fleet/api-client";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FakeClock } from "@fleet/daemon/testing";
import type { TokenSource } from "../config/enroll-tokens.ts";
import { checkTokens, type TokensFound } from "./check-tokens.ts";

const KINDS: Readonly<Record<string, string>> = {
  enrol: "enroll",
  before: "enroll",
  push: "push",
  mine: "refresh",
};
const FRAMES = { host: "frames", port: 30_050, tls: false };

let dir: string;
let server: Bun.Server<undefined>;
let asked: string[];
let isOpen: boolean;
let isOld: boolean;
let protocol: number;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "tokens-"));
  asked = [];
  isOpen = false;
  isOld = false;
  protocol = 1;
  server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: answer });
});

afterEach(() => {
  void server.stop(true);
  rmSync(dir, { recursive: true });
});

function answer(request: Request): Response {
  const token = request.headers.get("authorization")?.replace("Bearer ", "");
  asked.push(`${request.method} ${new URL(request.url).pathname} ${token ?? "-"}`);
  const error = (code: string, status: number) =>
    Response.json({ error: { code, message: code } }, { status });
  if (isOld) return error("not_found", 404);
  const kind = token === undefined ? isOpen && "enroll" : KINDS[token];
  if (kind === undefined || kind === false) return error("unauthorized", 401);
  return Response.json({ kind, protocol, version: "1", server_time_ms: 5, frames: FRAMES });
}

function check(
  sources: readonly TokenSource[],
  options: { refreshToken?: string; env?: Record<string, string>; isDown?: boolean } = {},
): Promise<TokensFound> {
  const clock = new FakeClock();
  const url = `http://127.0.0.1:${server.port}`;
  return checkTokens({
    sources,
    env: options.env ?? {},
    refreshToken: options.refreshToken,
    client: options.isDown === true ? undefined : new ApiClient({ url, clock }),
    clock,
  });
}

const value = (token: string): TokenSource => ({ at: "value", token });

function brief({ checks }: TokensFound): string[] {
  return checks.map(({ status, subject, message }) => `${status} ${subject ?? "-"}: ${message}`);
}

describe("tokens (A9, H5)", () => {
  test("are tried in the agent's order, by whoami only; the one that the agent will use is named", async () => {
    const env = { FLEET_ENROLL_TOKEN: "enrol", FLEET_ENROLL_TOKEN_PREVIOUS: "before" };
    const found = await check([value("enrol"), value("before")], { refreshToken: "mine", env });
    expect(brief(found)).toEqual([
      "ok identity.json: the coordinator accepts it; the agent will use it",
      "ok FLEET_ENROLL_TOKEN: the coordinator accepts it; kept in reserve",
      "ok FLEET_ENROLL_TOKEN_PREVIOUS: the coordinator accepts it; kept in reserve",
    ]);
    const whoami = "GET /api/v1/auth/whoami";
    expect(asked).toEqual([`${whoami} mine`, `${whoami} enrol`, `${whoami} before`]);
    expect(found.whoami?.answer.frames).toEqual(FRAMES);
  });

  test("that are refused are wrong only when no other is taken", async () => {
    const withOther = await check([value("stale"), value("enrol")], { refreshToken: "theirs" });
    expect(withOther.checks.map(({ status }) => status)).toEqual(["warn", "warn", "ok"]);
    expect(withOther.checks[2]?.message).toContain("the agent will use it");
    const alone = await check([value("stale")], { refreshToken: "theirs" });
    expect(alone.checks.map(({ status }) => status)).toEqual(["fail", "fail"]);
    expect(alone.whoami).toBeUndefined();
  });

  test("for something else are named as that, and still tell the frame port", async () => {
    const found = await check([value("push")]);
    expect(brief(found)).toEqual([
      "fail enrolment token: is a push token, for nodes without an agent",
    ]);
    expect(found.checks[0]?.remedy).toContain("FLEET_ENROLL_TOKEN");
    expect(found.whoami?.answer.frames).toEqual(FRAMES);
  });

  test("none at all is wrong, unless the coordinator asks for none", async () => {
    expect((await check([])).checks).toMatchObject([{ id: "token", status: "fail" }]);
    isOpen = true;
    const [only] = (await check([])).checks;
    expect(only).toMatchObject({ status: "ok" });
    expect(only?.message).toContain("--insecure-dev");
  });

  test("in unreadable files are reported with the reason; a pipe does not block", async () => {
    const path = (name: string): string => join(dir, name);
    writeFileSync(path("good"), "enrol\n");
    writeFileSync(path("empty"), "\n");
    writeFileSync(path("words"), "two words");
    writeFileSync(path("long"), "x".repeat(70_000));
    Bun.spawnSync(["mkfifo", path("pipe")]);
    const names = ["good", "empty", "words", "long", "pipe", "none", "."];
    const found = await check(names.map((name) => ({ at: "file", path: path(name) })));
    const at = (name: string): string => path(name);
    expect(brief(found)).toEqual([
      `ok ${at("good")}: the coordinator accepts it; the agent will use it`,
      `fail ${at("empty")}: is empty`,
      `fail ${at("words")}: does not contain a token`,
      `fail ${at("long")}: is too long to be a token`,
      `fail ${at("pipe")}: is not a file`,
      `fail ${at("none")}: can't be read: ENOENT`,
      `fail ${at(".")}: is not a file`,
    ]);
    chmodSync(path("good"), 0o600);
  });

  test("are listed when the coordinator can't be asked, and none is wrong all the same", async () => {
    const found = await check([value("enrol")], { refreshToken: "mine", isDown: true });
    expect(found.checks.map(({ status, subject }) => [status, subject])).toEqual([
      ["ok", "identity.json"],
      ["ok", "enrolment token"],
    ]);
    expect((await check([], { isDown: true })).checks).toMatchObject([{ status: "fail" }]);
    expect(asked).toEqual([]);
  });

  test("can't be judged by a coordinator that is too old, which is a warning", async () => {
    isOld = true;
    const [only] = (await check([value("enrol")])).checks;
    expect(only).toMatchObject({ status: "warn" });
    expect(only?.message).toContain("too old");
  });

  test("taken by a coordinator of another protocol are of no use", async () => {
    protocol = 2;
    const { checks } = await check([value("enrol")]);
    expect(checks.at(-1)).toMatchObject({ id: "coordinator", status: "fail" });
  });

  test("never appear in the report", async () => {
    const found = await check([value("secret-of-ours"), value("enrol")], { refreshToken: "mine" });
    const shown = JSON.stringify(found.checks.map(({ subject, ...rest }) => [subject, rest]));
    expect(shown).not.toContain("secret-of-ours");
  });
});
