import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { VirtualEnvironment } from "@fleet/runtimes";
import { checkEnvironments, checkProc, checkRuntimes } from "./check-image.ts";
import { detectionOf, interpreter } from "./testing.ts";

let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "doctor-"));
});

afterEach(() => rmSync(dir, { recursive: true }));

const GOOD: VirtualEnvironment = {
  name: "radar",
  path: "/envs/radar",
  verdict: "ok",
  kind: "venv",
  interpreter: "/envs/radar/bin/python3",
  real_path: "/usr/bin/python3.11",
  version: "3.11.2",
  semver: "3.11.2",
  reason: null,
  note: null,
};
const BROKEN: VirtualEnvironment = {
  ...GOOD,
  name: "old",
  path: "/envs/old",
  verdict: "broken",
  interpreter: null,
  reason: "its bin/python3 points at /usr/bin/python3.9, which is not there",
};

describe("virtual environments (A9)", () => {
  const environments = [GOOD, BROKEN];
  const detection = detectionOf({ environments });

  test("have a line each; a broken one, with the reason, is wrong only when a sensor asks for it", async () => {
    const env = { FLEET_RUNTIME_ENVS_DIR: dir };
    const unasked = await checkEnvironments(detection, env, new Set(["radar"]));
    expect(unasked).toMatchObject([
      { status: "ok", subject: "radar", message: "python 3.11.2 at /envs/radar/bin/python3" },
      { status: "warn", subject: "old", message: BROKEN.reason, data: { wanted: false } },
    ]);
    const [, asked] = await checkEnvironments(detection, env, new Set(["old"]));
    expect(asked).toMatchObject({ status: "fail", data: { wanted: true } });
    expect(asked?.remedy).toContain("/envs/old");
  });

  test("in a directory that is none, is not there or holds none are told by that", async () => {
    const none = detectionOf({});
    writeFileSync(join(dir, "file"), "");
    for (const [path, text] of [
      ["envs", "not an absolute path"],
      [join(dir, "gone"), "ENOENT"],
      [join(dir, "file"), "not a directory"],
      [dir, "contains none"],
    ] as const) {
      const env = { FLEET_RUNTIME_ENVS_DIR: path };
      const [found, ...others] = await checkEnvironments(none, env, new Set());
      expect(found).toMatchObject({ status: "warn", subject: path });
      expect(found?.message).toContain(text);
      expect(others).toEqual([]);
    }
  });

  test("without a directory are nobody's matter, unless a sensor asks for one", async () => {
    expect(await checkEnvironments(detection, {}, new Set())).toEqual([]);
    expect(await checkEnvironments(detection, {}, new Set(["radar"]))).toMatchObject([
      { status: "fail" },
    ]);
  });
});

describe("runtimes (A5)", () => {
  test("are told with versions and the tier that decided", () => {
    const found = detectionOf({
      interpreters: [interpreter("python", "3.11.2"), interpreter("node", "20.1.0")],
    });
    expect(checkRuntimes(found)).toMatchObject([
      { status: "ok", message: "python 3.11.2, node 20.1.0 (detected)" },
    ]);
  });

  test("that are offered but broken, or named in vain, have a line of their own", () => {
    const found = detectionOf({
      interpreters: [
        {
          verdict: "broken",
          name: "node",
          rejected: [
            { path: "/usr/bin/node", real_path: null, code: "dangling_link", reason: "dangles" },
          ],
        },
      ],
      resolved: {
        tier: "override",
        problems: [
          {
            severity: "warning",
            code: "unknown_runtime",
            name: "cobol",
            message: "cobol is unknown",
          },
        ],
      },
    });
    expect(checkRuntimes(found)).toMatchObject([
      { status: "ok", data: { tier: "override" } },
      { status: "warn", subject: "node", message: "/usr/bin/node dangles" },
      { status: "warn", subject: "cobol" },
    ]);
  });

  test("of which there are none are a warning", () => {
    expect(checkRuntimes(detectionOf({}))).toMatchObject([{ status: "warn" }]);
  });
});

test("/proc is mounted (A9)", async () => {
  expect(await checkProc()).toMatchObject({ id: "proc", status: "ok" });
});
