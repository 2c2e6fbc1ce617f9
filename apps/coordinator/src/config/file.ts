/** Reading a configuration file as far as its form goes; config.ts knows what may be in it. Light, for `health` reads it too. */
import { readFileSync } from "node:fs";

/** Every problem of a configuration, each with its path. */
export class ConfigError extends Error {
  readonly code = "config";
  readonly problems: readonly string[];
  constructor(source: string, problems: readonly string[]) {
    super(`${source}:\n${problems.map((p) => `  ${p}`).join("\n")}`);
    this.problems = problems;
  }
}

/** What a YAML (or TOML, by its name) file holds; an empty one, nothing at all. Throws ConfigError. */
export function readConfigFile(path: string): unknown {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new ConfigError(path, [`can't be read: ${(error as Error).message}`]);
  }
  try {
    return (path.endsWith(".toml") ? Bun.TOML.parse(text) : Bun.YAML.parse(text)) ?? {};
  } catch (error) {
    throw new ConfigError(path, [`is not valid: ${(error as Error).message}`]);
  }
}
