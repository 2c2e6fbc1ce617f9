import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { importProblems, importsOf, type ModuleGraph, readModules } from "./imports.ts";
import { root } from "../lib/root.ts";

const MODULES_MIN = 40;

function graph(modules: Record<string, readonly string[]>): ModuleGraph {
  return new Map(Object.entries(modules));
}

describe("the repository", () => {
  const modules = readModules(root);

  test("is read, not passed over", () => {
    expect(modules.size).toBeGreaterThan(MODULES_MIN);
    const specifiers = [...modules.values()].flat();
    expect(specifiers.filter((s) => s.startsWith(".")).length).toBeGreaterThan(MODULES_MIN);
    expect(specifiers.some((s) => s.startsWith("@fleet/"))).toBe(true);
  });

  test("yields every import that Bun's own scan finds", () => {
    const missed: string[] = [];
    for (const [path, specifiers] of modules) {
      const transpiler = new Bun.Transpiler({ loader: path.endsWith("x") ? "tsx" : "ts" });
      // The scan does not accept a hashbang line.
      const source = readFileSync(join(root, path), "utf8").replace(/^#!.*/, "");
      for (const { path: specifier } of transpiler.scanImports(source))
        if (!specifiers.includes(specifier)) missed.push(`${path} → ${specifier}`);
    }
    expect(missed).toEqual([]);
  });

  test("needs no third-party package to start a script, since a fresh clone has none", () => {
    const scripts = new Bun.Transpiler({ loader: "ts" });
    const found: string[] = [];
    const load = (path: string, trail: readonly string[]): void => {
      if (trail.includes(path) || !path.endsWith(".ts")) return;
      for (const { kind, path: to } of scripts.scanImports(
        readFileSync(join(root, path), "utf8"),
      )) {
        if (kind !== "import-statement" || to.startsWith("node:")) continue;
        const next = normalize(join(dirname(path), to));
        if (to.startsWith(".")) load(next, [...trail, path]);
        else found.push([...trail, path, to].join(" → "));
      }
    };
    const commands = [...modules.keys()].filter((path) => /^scripts\/[a-z-]+\.ts$/.test(path));
    expect(commands.length).toBeGreaterThan(5);
    for (const path of commands) load(path, []);
    expect(found).toEqual([]);
  });

  test("imports only in the allowed directions", () => {
    expect(importProblems(modules)).toEqual([]);
  });
});

test("reads imports in all their forms, and nothing else", () => {
  const source = [
    'import a from "a";',
    'import type { B } from "b";',
    'import {\n  type C,\n  d,\n} from "c";',
    'import "e";',
    'export * from "f";',
    'export type { G } from "g";',
    'import h from "h" with { type: "text" };',
    'const i = await import("i");',
    'export const from = "not-this";',
    'const text = "import z";',
  ].join("\n");
  expect(importsOf(source)).toEqual(["a", "b", "c", "e", "f", "g", "h", "i"]);
});

describe("a graph is refused when", () => {
  const broken: readonly [string, Record<string, readonly string[]>, string][] = [
    [
      "a package imports another",
      { "packages/protocol/src/a.ts": ["@fleet/daemon"] },
      "protocol may not import daemon",
    ],
    [
      "the supervisor imports more than the daemon",
      { "packages/supervisor/src/a.ts": ["@fleet/protocol"] },
      "supervisor may not import protocol",
    ],
    [
      "a package imports an app",
      { "packages/daemon/src/a.ts": ["../../../apps/agent/src/main.ts"] },
      "stays in its app or package",
    ],
    [
      "an app imports an app",
      { "apps/agent/src/a.ts": ["../../tracker/src/kalman.ts"] },
      "stays in its app or package",
    ],
    [
      "an app reaches into a package by path",
      { "apps/agent/src/a.ts": ["../../../packages/daemon/src/index.ts"] },
      "stays in its app or package",
    ],
    [
      "an app reaches into a package by name",
      { "apps/agent/src/a.ts": ["@fleet/daemon/src/clock.ts"] },
      "by its name or one of its entries",
    ],
    [
      "a script reaches into a package",
      { "scripts/a.ts": ["../packages/protocol/src/lines.ts"] },
      "by their entry",
    ],
    [
      "a script reaches into an app",
      { "scripts/bench/a.ts": ["../../apps/agent/src/state/identity.ts"] },
      "by its src/bench.ts",
    ],
    [
      "the harness imports the demo",
      { "scripts/harness/guard.ts": ["../demo/nodes.ts"] },
      "harness may not import demo",
    ],
    [
      "production code uses a fake",
      { "apps/agent/src/a.ts": ["@fleet/daemon/testing"] },
      "/testing is for tests",
    ],
    [
      "the coordinator's database imports the registry",
      { "apps/coordinator/src/db/open.ts": ["../registry/registry.ts"] },
      "db may not import registry",
    ],
    [
      "the coordinator's registry imports commands, which are to stand on it",
      { "apps/coordinator/src/registry/registry.ts": ["../commands/ledger.ts"] },
      "registry may not import commands",
    ],
    [
      "the coordinator's registry imports http",
      { "apps/coordinator/src/registry/registry.ts": ["../http/app.ts"] },
      "registry may not import http",
    ],
    [
      "a module imports another of its layer",
      { "apps/coordinator/src/http/app.ts": ["../uplinks/router.ts"] },
      "http may not import uplinks",
    ],
    [
      "a module imports the composition root",
      { "apps/coordinator/src/bus.ts": ["./coordinator.ts"] },
      "bus may not import coordinator",
    ],
    [
      "a module of the coordinator is in no layer",
      { "apps/coordinator/src/http/app.ts": ["../misc/thing.ts"] },
      "misc has no place",
    ],
    [
      "files import each other in a cycle",
      {
        "packages/daemon/src/a.ts": ["./b.ts"],
        "packages/daemon/src/b.ts": ["./c/c.ts"],
        "packages/daemon/src/c/c.ts": ["../a.ts"],
      },
      "cycle: packages/daemon/src/a.ts → packages/daemon/src/b.ts",
    ],
  ];

  test.each(broken)("%s", (_what, modules, rule) => {
    const problems = importProblems(graph(modules));
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(rule);
  });
});

test("a graph that keeps the rules is accepted", () => {
  const problems = importProblems(
    graph({
      "apps/coordinator/src/main.ts": ["./coordinator.ts", "./config/config.ts"],
      "apps/coordinator/src/coordinator.ts": ["./http/app.ts", "./db/open.ts", "@fleet/protocol"],
      "apps/coordinator/src/commands/ledger.ts": [
        "../registry/registry.ts",
        "../agent-streams/a.ts",
      ],
      "apps/coordinator/src/http/commands.ts": ["../commands/ledger.ts"],
      "apps/coordinator/src/http/app.ts": ["./agents.ts", "../registry/registry.ts", "hono"],
      "apps/coordinator/src/registry/registry.test.ts": ["@fleet/daemon/testing", "../http/app.ts"],
      "packages/supervisor/src/supervisor.ts": ["@fleet/daemon", "./spawn.ts"],
      "scripts/bench.ts": ["../packages/protocol/src/index.ts", "./lib/root.ts"],
      "scripts/bench/a.ts": [
        "../../apps/agent/src/bench.ts",
        "../../apps/agent/test/detection/seen.ts",
      ],
    }),
  );
  expect(problems).toEqual([]);
});
