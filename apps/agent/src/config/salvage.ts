/** Removes the invalid parts of a config file, so that the doctor can check the rest. Pure. (A9) */
import { type ConfigFile, parseConfigFile } from "./file.ts";

/** Removing a key may reveal further problems; a file that is still invalid after this many passes counts as empty. */
const PASSES_MAX = 8;

/** The valid part of a file that `parseConfigFile` refuses: removes the key of each problem, or the object that lacks it. */
export function salvageConfigFile(yaml: string, override: string | undefined): ConfigFile {
  let text = yaml;
  for (let pass = 0; pass < PASSES_MAX; pass++) {
    const result = parseConfigFile(text, override);
    if (result.at === "ok") return result.file;
    const raw = parsed(text);
    for (const problem of result.problems) removeAt(raw, problem);
    text = JSON.stringify(raw, dropHoles);
  }
  const empty = parseConfigFile("{}", undefined);
  if (empty.at === "bad") throw new Error("an empty config file must be valid");
  return empty.file;
}

function parsed(text: string): object {
  try {
    const raw: unknown = Bun.YAML.parse(text);
    return typeof raw === "object" && raw !== null && !Array.isArray(raw) ? raw : {};
  } catch {
    return {};
  }
}

/** `problem` is `path: what is wrong`. A removed list element leaves a hole, so that the later paths stay valid. */
function removeAt(raw: object, problem: string): void {
  const keys = problem.slice(0, Math.max(0, problem.indexOf(": "))).split(".");
  let parent: object | undefined;
  let last = "";
  let at: unknown = raw;
  for (const key of keys) {
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, key)) break;
    parent = at;
    last = key;
    at = Reflect.get(at, key);
  }
  if (parent !== undefined) Reflect.set(parent, last, undefined);
}

function dropHoles(_key: string, value: unknown): unknown {
  return Array.isArray(value) ? value.filter((element) => element !== undefined) : value;
}
