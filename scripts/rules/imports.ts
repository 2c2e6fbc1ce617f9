/**
 * Which modules may import which, as a pure function of the import graph, so that a test can pass it graphs that break the
 * rules. Type-only imports count, because a type is a dependency too.
 */
import { readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";

/** The import specifiers of each module, as written. Keys are paths relative to the repository. */
export type ModuleGraph = ReadonlyMap<string, readonly string[]>;

const SCOPE = "@fleet/";

/** The packages that a package may import; one that is not listed may import none. Apps may import every package. */
const PACKAGE_IMPORTS: Readonly<Record<string, readonly string[]>> = {
  "api-client": ["daemon", "protocol"],
  supervisor: ["daemon"],
};

/** The layers of each app from top to bottom. A module may import those in lower layers, but none in its own or a higher one. */
export const APP_LAYERS: Readonly<Record<string, readonly (readonly string[])[]>> = {
  "apps/agent": [
    ["main"],
    ["run", "doctor", "bench"],
    ["cli", "agent", "reload"],
    ["commands"],
    ["install", "sensors", "health-server"],
    ["uplink"],
    ["registration", "spool", "logs", "detection"],
    ["config"],
    ["state", "process"],
  ],
  "apps/coordinator": [
    ["main"],
    ["cli"],
    ["coordinator"],
    ["http", "uplinks"],
    ["metrics"],
    ["commands"],
    ["agent-streams", "trackers", "registry", "downloads"],
    ["auth"],
    ["db", "config"],
    ["bus", "net"],
  ],
  "apps/tracker": [
    ["main"],
    ["session"],
    ["tracker"],
    ["config", "events"],
    ["options", "association"],
    ["tracks"],
    ["estimation", "input"],
  ],
};

/** The rooms of `scripts/` that a room may import besides itself. */
const SCRIPT_ROOMS: Readonly<Record<string, readonly string[]>> = {
  lib: [],
  harness: ["lib"],
};

/** Reads every TypeScript module of apps, packages and scripts under `root`. */
export function readModules(root: string): ModuleGraph {
  const glob = new Bun.Glob("{apps,packages,scripts}/**/*.{ts,tsx}");
  const graph = new Map<string, readonly string[]>();
  for (const path of glob.scanSync({ cwd: root })) {
    if (path.includes("node_modules/")) continue;
    graph.set(path, importsOf(readFileSync(join(root, path), "utf8")));
  }
  return graph;
}

const STATIC = /^(?:import|export)\b(?:[^;"'`]*?\bfrom)?\s*"([^"\n]+)"/gm;
const DYNAMIC = /\bimport\(\s*"([^"\n]+)"/g;

/** Returns the import specifiers of a formatted module. Unlike a transpiler's scan, it includes type-only imports. */
export function importsOf(source: string): readonly string[] {
  return [...source.matchAll(STATIC), ...source.matchAll(DYNAMIC)].map((match) => match[1]!);
}

/** Returns every import that breaks a rule, as `importer → imported: rule`. */
export function importProblems(graph: ModuleGraph): readonly string[] {
  const problems: string[] = [];
  for (const [from, specifiers] of graph) {
    for (const specifier of specifiers) {
      const rule = specifier.startsWith(".")
        ? relativeProblem(from, target(from, specifier))
        : packageProblem(from, specifier);
      if (rule !== undefined) problems.push(`${from} → ${specifier}: ${rule}`);
    }
  }
  return [...problems, ...cycles(graph)];
}

function packageProblem(from: string, specifier: string): string | undefined {
  if (!specifier.startsWith(SCOPE)) return undefined;
  const [name, entry, ...deeper] = specifier.slice(SCOPE.length).split("/");
  // The package's `exports` define its entries; other names do not resolve.
  if (deeper.length > 0) return "a package is imported by its name or one of its entries";
  if (entry === "testing" && !isForTests(from)) return "/testing is for tests";
  const [kind, own] = from.split("/");
  if (kind !== "packages") return undefined;
  const allowed = PACKAGE_IMPORTS[own!] ?? [];
  return allowed.includes(name!) ? undefined : `${own} may not import ${name}`;
}

function relativeProblem(from: string, to: string): string | undefined {
  const workspace = workspaceOf(from);
  if (workspaceOf(to) !== workspace) {
    if (workspace !== "scripts") return "a relative import stays in its app or package";
    if (/^apps\/[^/]+\/src\//.test(to) && !/^apps\/[^/]+\/src\/bench\.ts$/.test(to))
      return "scripts import the source of an app by its src/bench.ts";
    const isEntry = /^packages\/[^/]+\/src\/(index|testing)\.ts$/.test(to);
    return to.startsWith("packages/") && !isEntry
      ? "packages are imported by their entry"
      : undefined;
  }
  if (isForTests(from)) return undefined;
  return workspace === "scripts" ? roomProblem(from, to) : layerProblem(workspace, from, to);
}

function roomProblem(from: string, to: string): string | undefined {
  const [room, other] = [from.split("/")[1]!, to.split("/")[1]!];
  const allowed = SCRIPT_ROOMS[room];
  if (allowed === undefined || other === room || allowed.includes(other)) return undefined;
  return `${room} may not import ${other}`;
}

function layerProblem(app: string, from: string, to: string): string | undefined {
  const layers = APP_LAYERS[app];
  if (layers === undefined) return undefined;
  const [above, below] = [moduleOf(app, from), moduleOf(app, to)];
  if (above === undefined || below === undefined || above === below) return undefined;
  const layerOf = (module: string) => layers.findIndex((layer) => layer.includes(module));
  const [upper, lower] = [layerOf(above), layerOf(below)];
  const unplaced = upper < 0 ? above : lower < 0 ? below : undefined;
  if (unplaced !== undefined) return `${unplaced} has no place in APP_LAYERS`;
  return upper < lower ? undefined : `${above} may not import ${below}`;
}

/** Returns the folder directly below an app's `src`, or the file's name if it lies in `src` itself. */
function moduleOf(app: string, path: string): string | undefined {
  const prefix = `${app}/src/`;
  return path.startsWith(prefix) ? /^[^/.]+/.exec(path.slice(prefix.length))?.[0] : undefined;
}

function cycles(graph: ModuleGraph): readonly string[] {
  const found: string[] = [];
  const done = new Set<string>();
  const visit = (path: string, trail: readonly string[]): void => {
    const seenAt = trail.indexOf(path);
    if (seenAt >= 0) found.push(`cycle: ${[...trail.slice(seenAt), path].join(" → ")}`);
    if (seenAt >= 0 || done.has(path)) return;
    for (const specifier of graph.get(path) ?? []) {
      if (specifier.startsWith(".")) visit(target(path, specifier), [...trail, path]);
    }
    done.add(path);
  };
  for (const path of graph.keys()) visit(path, []);
  return found;
}

function target(from: string, specifier: string): string {
  return normalize(join(dirname(from), specifier));
}

function workspaceOf(path: string): string {
  const [kind, name] = path.split("/");
  return kind === "apps" || kind === "packages" ? `${kind}/${name}` : kind!;
}

function isForTests(path: string): boolean {
  return /\.test\.tsx?$|\/testing\.ts$|\/fake-[^/]+\.ts$|\/test\//.test(path);
}
