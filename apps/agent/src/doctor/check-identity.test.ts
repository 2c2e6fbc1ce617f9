import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nodeIdSchema } from "@fleet/protocol";
import { checkIdentity } from "./check-identity.ts";

let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "doctor-"));
});

afterEach(() => rmSync(dir, { recursive: true }));

function store(text: string, mode = 0o600): void {
  writeFileSync(join(dir, "identity.json"), text, { mode });
  chmodSync(join(dir, "identity.json"), mode);
}

const HILL = nodeIdSchema.parse("hill");
const STORED = '{"node_id":"hill","refresh_token":"secret"}';

describe("the identity (A9, A14)", () => {
  test("that is stored yields the node and its token, which is not shown", async () => {
    store(STORED);
    for (const name of [undefined, HILL]) {
      const found = await checkIdentity(dir, name);
      expect(found).toMatchObject({ nodeId: HILL, refreshToken: "secret" });
      expect(found.checks).toMatchObject([{ id: "identity", status: "ok" }]);
      expect(JSON.stringify(found.checks)).not.toContain("secret");
    }
  });

  test("of another node is a warning, and its token is not used", async () => {
    store(STORED);
    const found = await checkIdentity(dir, nodeIdSchema.parse("dale"));
    expect(found).toMatchObject({ nodeId: "dale", refreshToken: undefined });
    expect(found.checks).toMatchObject([{ status: "warn" }]);
    expect(found.checks[0]?.message).toContain(
      "belongs to node hill, but the configured name is dale",
    );
  });

  test("that can't be understood is a warning, and stays where it is", async () => {
    for (const text of ["", "{", "[]", '{"node_id":"../x"}', "x".repeat(70_000)]) {
      store(text);
      const found = await checkIdentity(dir, undefined);
      expect(found.checks).toMatchObject([{ status: "warn" }]);
      expect(readdirSync(dir)).toEqual(["identity.json"]);
      expect(readFileSync(join(dir, "identity.json"), "utf8")).toBe(text);
    }
  });

  test("others may read is a warning", async () => {
    store(STORED, 0o640);
    const found = await checkIdentity(dir, undefined);
    expect(found.checks.map(({ status }) => status)).toEqual(["ok", "warn"]);
    expect(found.checks[1]?.remedy).toContain("chmod 600");
  });

  test("that is not there is made later; a directory in its place is wrong", async () => {
    expect((await checkIdentity(dir, undefined)).checks).toMatchObject([{ status: "ok" }]);
    expect((await checkIdentity(join(dir, "none"), HILL)).checks[0]?.message).toContain("hill");
    mkdirSync(join(dir, "identity.json"));
    expect((await checkIdentity(dir, undefined)).checks).toMatchObject([{ status: "fail" }]);
  });
});
