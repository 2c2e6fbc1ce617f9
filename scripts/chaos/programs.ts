/** The test's own programs in C, so that hundreds of them cost next to nothing. Made by whoever runs them. */
import { join } from "node:path";

/** Why a program could not be compiled; undefined: it was. */
export function compile(name: "sensor" | "tracker", to: string): string | undefined {
  const compiler = Bun.which("gcc") ?? Bun.which("cc");
  if (compiler === null) return "there is no C compiler (gcc or cc)";
  const source = join(import.meta.dir, `${name}.c`);
  const { exitCode, stderr } = Bun.spawnSync([compiler, "-O2", "-o", to, source]);
  return exitCode === 0 ? undefined : `${compiler}: ${stderr.toString().trim()}`;
}
