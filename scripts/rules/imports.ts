/**
 * Which way imports may point (DESIGN §3), as a pure function over the import graph, so that a test can feed it graphs
 * that break the rules. Type-only imports count: a type is a dependency too.
 */
import { readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";

/** Path of each module, from the top of the repository, and the specifiers in it as they are written. */
export type ModuleGraph = ReadonlyMap<string, readonly string[]>;

const SCOPE = "@fleet/";

/** What a package may import of ours; one that is not named here, nothing. Apps may import every package. */
const PACKAGE_IMPORTS: Readonly<Record<string, readonly string[]>> = {
  supervisor: ["daemon"],
};

/** The modules of each app from top to bottom: each may import those further down, none beside it or above. */
const APP_LAYERS: Readonly<Record<string, readonly (readonly string[])[]>> = {
  "apps/agent": [
    ["main"],
    ["run", "doctor"],
    ["cli", "agent", "reload"],
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
    ["agent-streams", "trackers", "registry", "downloads"],
    ["auth"],
    ["db", "bus", "config"],
    ["net"],
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

/** Every TypeScript module of apps, packages and scripts under `root`. */
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

/** The specifiers in a module as the formatter leaves it. Unlike a transpiler's scan, it sees type-only imports. */
export function importsOf(source: string): readonly string[] {
  return [...source.matchAll(STATIC), ...source.matchAll(DYNAMIC)].map((match) => match[1]!);
}

/** Every import that breaks a rule, as `importer → imported: rule`. */
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
  // Which entries there are, the package's `exports` say; without one, nothing resolves.
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
    const isEntry = /^packages\/[^/]+\/src\/(index|testing)\.ts$/.test(to);
    return to.startsWith("packages/") && !isEntry
      ? "packages are imported by their entry"
      : undefined;
  }
  return isForTests(from) ? undefined : layerProblem(workspace, from, to);
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

/** The folder below an app's `src`, or the file when it lies there itself. */
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
