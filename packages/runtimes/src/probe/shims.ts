/**
 * Shims of version managers: small stand-ins on PATH that look up which version is wanted and start that. Slow, and broken when that
 * version isn't there, so they are told apart by where they lie and what is in them, and looked through without being run. (A4)
 *
 * What a directory of a project asks for (`.python-version` beside the sensor) counts only at `/`: where a sensor will run is not known here.
 */
import type { Executable } from "../inspect/inspect-executable.ts";
import type { FileObserver } from "../inspect/file-observer.ts";
import { newestFirst } from "./search-path.ts";

/** What a shim stands for. */
export type ShimTarget =
  | {
      readonly at: "program";
      readonly path: string;
      readonly via: string;
      readonly askedBy: string;
    }
  /** Whatever comes next on PATH. */
  | { readonly at: "system"; readonly via: string; readonly askedBy: string }
  | { readonly at: "unresolved"; readonly via: string; readonly reason: string };

export interface ShimContext {
  readonly observer: FileObserver;
  readonly home: string | undefined;
  /** Canonical name of the interpreter that is looked for. */
  readonly runtime: string;
}

/** A version that is wanted, and who says so. */
interface Wish {
  readonly versions: readonly string[];
  readonly askedBy: string;
}

const VERSIONS_MAX = 8;

/** How asdf and mise call what Fleet calls otherwise. */
const PLUGIN_NAMES: Readonly<Record<string, readonly string[]>> = {
  node: ["nodejs", "node"],
  go: ["golang", "go"],
  r: ["R", "r"],
  dotnet: ["dotnet", "dotnet-core"],
};

/** Undefined when the file is no shim. */
export function resolveShim(executable: Executable, context: ShimContext): ShimTarget | undefined {
  const { path, script, realPath } = executable;
  const target = nameOf(realPath);
  if (target === "volta-shim") return voltaShim(path, context);
  if (target !== nameOf(path) && (target === "mise" || target === "rtx"))
    return miseShim(path, context);
  if (script === null) return undefined;
  const manager = /^exec "?[^"\n]*\/([a-z]+env)"? exec /m.exec(script)?.[1];
  if (manager !== undefined) {
    const root = /^export [A-Z]+_ROOT="?(\/[^"\n]*)/m.exec(script)?.[1] ?? dirOf(dirOf(path));
    return envShim(path, root, manager, context);
  }
  return /^# asdf-plugin: /m.test(script) ? asdfShim(path, script, context) : undefined;
}

/** pyenv, rbenv, nodenv, goenv, jenv and their like, which have one plan. `root` is where the shim says it is. */
function envShim(path: string, root: string, manager: string, context: ShimContext): ShimTarget {
  const { observer } = context;
  const via = `${manager} shim ${path}`;
  const variable = `${manager.toUpperCase()}_VERSION`;
  const language = { pyenv: "python", rbenv: "ruby", nodenv: "node", goenv: "go", jenv: "java" }[
    manager
  ];
  const wish =
    wishOfVariable(observer, variable, ":") ??
    wishOfFile(observer, `/.${language ?? context.runtime}-version`) ??
    wishOfFile(observer, `${root}/version`);
  if (wish === undefined || wish.versions[0] === "system")
    return { at: "system", via, askedBy: wish?.askedBy ?? `no version is set in ${root}/version` };
  const prefixes = language === undefined ? [] : [`${language}-`, "v"];
  return firstInstalled(wish, via, manager, (version) => {
    const bare = prefixes.reduce(
      (name, prefix) => (name.startsWith(prefix) ? name.slice(prefix.length) : name),
      version,
    );
    return [version, bare, newestOf(observer, `${root}/versions`, bare)].flatMap((name) =>
      name === undefined ? [] : programIn(observer, `${root}/versions/${name}/bin`, path),
    )[0];
  });
}

function asdfShim(path: string, script: string, context: ShimContext): ShimTarget {
  const { observer, home } = context;
  const via = `asdf shim ${path}`;
  const data = observer.variable("ASDF_DATA_DIR") ?? dirOf(dirOf(path));
  const plugins = [...script.matchAll(/^# asdf-plugin: (\S+)/gm)].map((match) => match[1] ?? "");
  const plugin = plugins[0] ?? context.runtime;
  const file = observer.variable("ASDF_DEFAULT_TOOL_VERSIONS_FILENAME") ?? ".tool-versions";
  const wish =
    wishOfVariable(observer, `ASDF_${plugin.toUpperCase().replaceAll("-", "_")}_VERSION`, " ") ??
    wishOfToolVersions(observer, `/${file}`, [plugin]) ??
    (home === undefined ? undefined : wishOfToolVersions(observer, `${home}/${file}`, [plugin]));
  if (wish === undefined)
    return { at: "unresolved", via, reason: `no ${file} sets a version of ${plugin}` };
  if (wish.versions[0] === "system") return { at: "system", via, askedBy: wish.askedBy };
  return firstInstalled(
    wish,
    via,
    "asdf",
    (version) =>
      ["bin", "go/bin", "."]
        .map((bin) => `${data}/installs/${plugin}/${version}/${bin}`.replace(/\/\.$/, ""))
        .flatMap((dir) => programIn(observer, dir, path))[0],
  );
}

function miseShim(path: string, context: ShimContext): ShimTarget {
  const { observer, home, runtime } = context;
  const via = `mise shim ${path}`;
  const data = observer.variable("MISE_DATA_DIR") ?? dirOf(dirOf(path));
  const config = observer.variable("MISE_CONFIG_DIR") ?? (home && `${home}/.config/mise`);
  const names = [runtime, ...(PLUGIN_NAMES[runtime] ?? [])];
  const wish =
    wishOfVariable(observer, `MISE_${runtime.toUpperCase()}_VERSION`, " ") ??
    wishOfMise(observer, ["/mise.toml", "/.mise.toml"], names) ??
    wishOfToolVersions(observer, "/.tool-versions", names) ??
    (config && wishOfMise(observer, [`${config}/config.toml`], names)) ??
    (home && wishOfToolVersions(observer, `${home}/.tool-versions`, names)) ??
    wishOfMise(observer, ["/etc/mise/config.toml"], names);
  if (!wish)
    return {
      at: "unresolved",
      via,
      reason: `no configuration of mise sets a version of ${runtime}`,
    };
  if (wish.versions[0] === "system") return { at: "system", via, askedBy: wish.askedBy };
  return firstInstalled(
    wish,
    via,
    "mise",
    (version) =>
      names.flatMap((name) =>
        [version, newestOf(observer, `${data}/installs/${name}`, version)].flatMap((installed) =>
          installed === undefined
            ? []
            : programIn(observer, `${data}/installs/${name}/${installed}/bin`, path),
        ),
      )[0],
  );
}

function voltaShim(path: string, { observer }: ShimContext): ShimTarget {
  const via = `volta shim ${path}`;
  const home = observer.variable("VOLTA_HOME") ?? dirOf(dirOf(path));
  const file = `${home}/tools/user/platform.json`;
  const version = /"runtime"\s*:\s*"([^"]+)"/.exec(observer.text(file) ?? "")?.[1];
  if (version === undefined)
    return { at: "unresolved", via, reason: `${file} sets no version of node` };
  return firstInstalled(
    { versions: [version], askedBy: file },
    via,
    "volta",
    (wanted) => programIn(observer, `${home}/tools/image/node/${wanted}/bin`, path)[0],
  );
}

/** As the managers do it, the first version that has the program. */
function firstInstalled(
  { versions, askedBy }: Wish,
  via: string,
  manager: string,
  find: (version: string) => string | undefined,
): ShimTarget {
  for (const version of versions) {
    const path = find(version);
    if (path !== undefined) return { at: "program", path, via, askedBy };
  }
  const wanted = versions.join(", ");
  return {
    at: "unresolved",
    via,
    reason: `${askedBy} asks for ${wanted}, which ${manager} has not installed`,
  };
}

/** The program of the shim's name in `dir`: in a list of one, or an empty one. */
function programIn(observer: FileObserver, dir: string, shim: string): string[] {
  const path = `${dir}/${nameOf(shim)}`;
  const look = observer.at(path);
  return look.at === "there" && look.stat.isFile() ? [path] : [];
}

/** `3.11` stands for the newest 3.11.x. */
function newestOf(observer: FileObserver, dir: string, prefix: string): string | undefined {
  if (!/^\d/.test(prefix)) return undefined;
  return observer
    .list(dir)
    .filter((name) => name.startsWith(`${prefix}.`))
    .toSorted(newestFirst)[0];
}

function wishOfVariable(observer: FileObserver, name: string, separator: string): Wish | undefined {
  const value = observer.variable(name);
  return value === undefined ? undefined : wishFor(value.split(separator), name);
}

function wishOfFile(observer: FileObserver, path: string): Wish | undefined {
  const lines = (observer.text(path) ?? "").split("\n").map((line) => line.replace(/#.*/, ""));
  return wishFor(lines.join(" ").split(/[\s:]+/), path);
}

/** Lines of `.tool-versions`: a name, then versions, the first that is there wins. */
function wishOfToolVersions(
  observer: FileObserver,
  path: string,
  names: readonly string[],
): Wish | undefined {
  for (const line of (observer.text(path) ?? "").split("\n")) {
    const [name = "", ...versions] = line.replace(/#.*/, "").trim().split(/\s+/);
    if (names.includes(name)) return wishFor(versions, path);
  }
  return undefined;
}

/** `[tools]` of mise's config: a version, a list of them, or a table with one. */
function wishOfMise(
  observer: FileObserver,
  paths: readonly string[],
  names: readonly string[],
): Wish | undefined {
  for (const path of paths) {
    const text = observer.text(path);
    if (text === undefined) continue;
    const tools = tableOf(parseToml(text), "tools");
    const wanted = names.map((name) => tools?.[name]).find((value) => value !== undefined);
    const versions = (Array.isArray(wanted) ? wanted : [wanted]).map((value: unknown) =>
      typeof value === "object" && value !== null && "version" in value ? value.version : value,
    );
    const found = wishFor(
      versions.filter((value) => typeof value === "string"),
      path,
    );
    if (found !== undefined) return found;
  }
  return undefined;
}

function parseToml(text: string): unknown {
  try {
    return Bun.TOML.parse(text);
  } catch {
    return undefined;
  }
}

function tableOf(value: unknown, key: string): Record<string, unknown> | undefined {
  if (typeof value !== "object" || value === null || !(key in value)) return undefined;
  const table = (value as Record<string, unknown>)[key];
  return typeof table === "object" && table !== null
    ? (table as Record<string, unknown>)
    : undefined;
}

function wishFor(words: readonly string[], askedBy: string): Wish | undefined {
  // A version becomes part of a path.
  const versions = words
    .map((word) => word.trim())
    .filter((word) => /^[\w.+-]+$/.test(word) && !word.startsWith("."))
    .slice(0, VERSIONS_MAX);
  return versions.length === 0 ? undefined : { versions, askedBy };
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

function dirOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/")) || "/";
}
