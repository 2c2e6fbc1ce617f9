/** Reads a configuration file as far as its syntax; config.ts checks its content. Small, because `health` loads it too. */
import { readFileSync } from "node:fs";
import { ConfigError } from "@fleet/daemon/config-error";

/** The content of a YAML file, or TOML if its name ends in `.toml`; `{}` for an empty file. Throws ConfigError. */
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
