import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FakeClock } from "@fleet/daemon/testing";
import { nodeIdSchema } from "@fleet/protocol";
import { loadIdentity } from "./identity.ts";
import { recordingLog } from "../testing.ts";

let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "identity-"));
});

afterEach(() => rmSync(dir, { recursive: true }));

function load(options: { name?: string; stateDir?: string | undefined; hostname?: string } = {}) {
  const { log, lines } = recordingLog();
  const identity = loadIdentity({
    name: options.name === undefined ? undefined : nodeIdSchema.parse(options.name),
    stateDir: "stateDir" in options ? options.stateDir : dir,
    hostname: options.hostname ?? "hill.example.org",
    clock: new FakeClock(1_783_500_000_000),
    log,
  });
  return { identity, lines };
}

const file = (): string => join(dir, "identity.json");

test("a generated id is made from the host name, stored at once, and the same at the next start", () => {
  const { identity } = load();
  expect(identity.nodeId).toMatch(/^hill-example-org-[a-z2-7]{6}$/);
  expect(load({ hostname: "renamed" }).identity.nodeId).toBe(identity.nodeId);
});

test("two hosts of one name get different ids", () => {
  const first = load().identity.nodeId;
  rmSync(file());
  expect(load().identity.nodeId).not.toBe(first);
});

test.each(["x".repeat(300), "", "---", "日本"])(
  "host name %p gives an id that is one",
  (hostname) => {
    expect(nodeIdSchema.safeParse(load({ hostname }).identity.nodeId).success).toBe(true);
  },
);

test("the refresh token is kept for the next start, in a file that only we can read, without other files", () => {
  load().identity.keepRefreshToken("secret");
  expect(load().identity.refreshToken).toBe("secret");
  expect(statSync(file()).mode & 0o777).toBe(0o600);
  expect(readdirSync(dir)).toEqual(["identity.json"]);
});

test("a name that was given wins over the one kept, and a token kept for another name is given up", () => {
  load({ name: "radar3" }).identity.keepRefreshToken("secret");
  expect(load({ name: "radar3" }).identity.refreshToken).toBe("secret");
  const { identity } = load({ name: "radar4" });
  expect([identity.nodeId, identity.refreshToken]).toEqual([
    nodeIdSchema.parse("radar4"),
    undefined,
  ]);
  identity.keepRefreshToken("other");
  expect(JSON.parse(readFileSync(file(), "utf8"))).toEqual({
    node_id: "radar4",
    refresh_token: "other",
  });
});

test.each([
  "",
  "{",
  "[]",
  '{"node_id":"a.b"}',
  '{"node_id":"a","refresh_token":5}',
  "x".repeat(70_000),
])("a corrupt file (%#) is moved aside, reported, and replaced", (text) => {
  writeFileSync(file(), text);
  const { identity, lines } = load();
  expect(readdirSync(dir).toSorted()).toEqual([
    "identity.json",
    "identity.json.corrupt-1783500000000",
  ]);
  expect(readFileSync(`${file()}.corrupt-1783500000000`, "utf8")).toBe(text);
  expect(lines.map(({ level }) => level)).toEqual(["warn"]);
  expect(load().identity.nodeId).toBe(identity.nodeId);
});

test("the temporary file of a crashed write is no obstacle", () => {
  writeFileSync(`${file()}.tmp`, "half", { mode: 0o644 });
  load({ name: "radar3" }).identity.keepRefreshToken("secret");
  expect(load().identity.refreshToken).toBe("secret");
  expect(statSync(file()).mode & 0o777).toBe(0o600);
});

test("without a state directory the id is the host's name and nothing is kept", () => {
  const { identity } = load({ stateDir: undefined });
  expect(String(identity.nodeId)).toBe("hill-example-org");
  identity.keepRefreshToken("secret");
  expect(identity.refreshToken).toBe("secret");
  expect(readdirSync(dir)).toEqual([]);
});

test("a disk that refuses the file is logged, and the agent continues", () => {
  const { identity, lines } = load({ name: "radar3" });
  rmSync(dir, { recursive: true });
  identity.keepRefreshToken("secret");
  expect(identity.refreshToken).toBe("secret");
  expect(lines.map(({ level }) => level)).toEqual(["warn"]);
  expect(JSON.stringify(lines)).not.toContain("secret");
  dir = mkdtempSync(join(tmpdir(), "identity-"));
});
