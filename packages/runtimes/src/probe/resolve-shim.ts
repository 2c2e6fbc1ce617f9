/**
 * Resolves shims of version managers: small programs on PATH that look up the selected version and start it. They are slow, and
 * fail when that version is not installed, so they are recognised by name and content and resolved without being run. (A4)
 *
 * Version files of a project (`.python-version`) are read only at `/`, because the working directory of a sensor is not known
 * yet.
 */
import type { Executable } from "../inspect/inspect-executable.ts";
import type { FileObserver } from "../inspect/file-observer.ts";
import { newestFirst } from "./search-path.ts";

/** What a shim leads to. `source` is the variable or file that selects the version. */
export type ShimTarget =
  | {
      readonly at: "program";
      readonly path: string;
      readonly via: string;
      readonly source: string;
    }
  /** The next program of that name on PATH. */
  | { readonly at: "system"; readonly via: string; readonly source: string }
  | { readonly at: "unresolved"; readonly via: string; readonly reason: string };

export interface ShimContext {
  readonly observer: FileObserver;
  readonly home: string | undefined;
  /** Canonical name of the interpreter the shim should lead to. */
  readonly runtime: string;
}

/** The selected versions in order of preference, and the variable or file that selects them. */
interface VersionRequest {
  readonly versions: readonly string[];
  readonly source: string;
}

const VERSIONS_MAX = 8;

/** Names of asdf and mise plugins that differ from Fleet's runtime names. */
const PLUGIN_NAMES: Readonly<Record<string, readonly string[]>> = {
  node: ["nodejs", "node"],
  go: ["golang", "go"],
  r: ["R", "r"],
  dotnet: ["dotnet", "dotnet-core"],
};

/** Undefined when the file is not a shim. */
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

/** pyenv, rbenv, nodenv, goenv, jenv and similar managers share one layout. `root` is the directory named in the shim. */
function envShim(path: string, root: string, manager: string, context: ShimContext): ShimTarget {
  const { observer } = context;
  const via = `${manager} shim ${path}`;
  const variable = `${manager.toUpperCase()}_VERSION`;
  const language = { pyenv: "python", rbenv: "ruby", nodenv: "node", goenv: "go", jenv: "java" }[
    manager
  ];
  const request =
    requestFromVariable(observer, variable, ":") ??
    requestFromFile(observer, `/.${language ?? context.runtime}-version`) ??
    requestFromFile(observer, `${root}/version`);
  if (request === undefined || request.versions[0] === "system")
    return { at: "system", via, source: request?.source ?? `no version is set in ${root}/version` };
  const prefixes = language === undefined ? [] : [`${language}-`, "v"];
  return firstInstalled(request, via, manager, (version) => {
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
  const request =
    requestFromVariable(
      observer,
      `ASDF_${plugin.toUpperCase().replaceAll("-", "_")}_VERSION`,
      " ",
    ) ??
    requestFromToolVersions(observer, `/${file}`, [plugin]) ??
    (home === undefined
      ? undefined
      : requestFromToolVersions(observer, `${home}/${file}`, [plugin]));
  if (request === undefined)
    return { at: "unresolved", via, reason: `no ${file} selects a version of ${plugin}` };
  if (request.versions[0] === "system") return { at: "system", via, source: request.source };
  return firstInstalled(
    request,
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
  const request =
    requestFromVariable(observer, `MISE_${runtime.toUpperCase()}_VERSION`, " ") ??
    requestFromMise(observer, ["/mise.toml", "/.mise.toml"], names) ??
    requestFromToolVersions(observer, "/.tool-versions", names) ??
    (config && requestFromMise(observer, [`${config}/config.toml`], names)) ??
    (home && requestFromToolVersions(observer, `${home}/.tool-versions`, names)) ??
    requestFromMise(observer, ["/etc/mise/config.toml"], names);
  if (!request)
    return {
      at: "unresolved",
      via,
      reason: `no configuration of mise selects a version of ${runtime}`,
    };
  if (request.versions[0] === "system") return { at: "system", via, source: request.source };
  return firstInstalled(
    request,
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
  const version = /"runtime"\s*:\s*"([^"]+)"/.exec(observer.readText(file) ?? "")?.[1];
  if (version === undefined)
    return { at: "unresolved", via, reason: `${file} selects no version of node` };
  return firstInstalled(
    { versions: [version], source: file },
    via,
    "volta",
    (selected) => programIn(observer, `${home}/tools/image/node/${selected}/bin`, path)[0],
  );
}

/** Like the managers, takes the first selected version that contains the program. */
function firstInstalled(
  { versions, source }: VersionRequest,
  via: string,
  manager: string,
  find: (version: string) => string | undefined,
): ShimTarget {
  for (const version of versions) {
    const path = find(version);
    if (path !== undefined) return { at: "program", path, via, source };
  }
  const selected = versions.join(", ");
  return {
    at: "unresolved",
    via,
    reason: `${source} selects ${selected}, which ${manager} has not installed`,
  };
}

/** The path of the shim's program in `dir`, or an empty list if there is none. */
function programIn(observer: FileObserver, dir: string, shim: string): string[] {
  const path = `${dir}/${nameOf(shim)}`;
  const entry = observer.observe(path);
  return entry.at === "present" && entry.stat.isFile() ? [path] : [];
}

/** The newest installed version with the given prefix: `3.11` selects the newest 3.11.x. */
function newestOf(observer: FileObserver, dir: string, prefix: string): string | undefined {
  if (!/^\d/.test(prefix)) return undefined;
  return observer
    .list(dir)
    .filter((name) => name.startsWith(`${prefix}.`))
    .toSorted(newestFirst)[0];
}

function requestFromVariable(
  observer: FileObserver,
  name: string,
  separator: string,
): VersionRequest | undefined {
  const value = observer.variable(name);
  return value === undefined ? undefined : toRequest(value.split(separator), name);
}

function requestFromFile(observer: FileObserver, path: string): VersionRequest | undefined {
  const lines = (observer.readText(path) ?? "").split("\n").map((line) => line.replace(/#.*/, ""));
  return toRequest(lines.join(" ").split(/[\s:]+/), path);
}

/** Each line of `.tool-versions` is a name followed by versions in order of preference. */
function requestFromToolVersions(
  observer: FileObserver,
  path: string,
  names: readonly string[],
): VersionRequest | undefined {
  for (const line of (observer.readText(path) ?? "").split("\n")) {
    const [name = "", ...versions] = line.replace(/#.*/, "").trim().split(/\s+/);
    if (names.includes(name)) return toRequest(versions, path);
  }
  return undefined;
}

/** An entry of `[tools]` in mise's config is a version, a list of versions, or a table with a version. */
function requestFromMise(
  observer: FileObserver,
  paths: readonly string[],
  names: readonly string[],
): VersionRequest | undefined {
  for (const path of paths) {
    const text = observer.readText(path);
    if (text === undefined) continue;
    const tools = tableOf(parseToml(text), "tools");
    const tool = names.map((name) => tools?.[name]).find((value) => value !== undefined);
    const versions = (Array.isArray(tool) ? tool : [tool]).map((value: unknown) =>
      typeof value === "object" && value !== null && "version" in value ? value.version : value,
    );
    const found = toRequest(
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

function toRequest(words: readonly string[], source: string): VersionRequest | undefined {
  // A version becomes part of a path, so only harmless characters are accepted.
  const versions = words
    .map((word) => word.trim())
    .filter((word) => /^[\w.+-]+$/.test(word) && !word.startsWith("."))
    .slice(0, VERSIONS_MAX);
  return versions.length === 0 ? undefined : { versions, source };
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

function dirOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/")) || "/";
}
