/** Compiles the C programs of these tests: one for this machine that enters roots, the others for the roots' processor. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Machine } from "./machine.ts";

const SOURCES = join(import.meta.dir, "programs");
const WARNINGS = ["-O1", "-Wall", "-Wextra", "-Werror"];

/** Paths outside, except `witness`, which is copied into roots. */
export interface Programs {
  readonly enter: string;
  readonly sensor: string;
  readonly witness: Uint8Array;
}

/** Compiles them into `dir`. */
export async function compilePrograms(machine: Machine, dir: string): Promise<Programs> {
  const compile = async (compiler: string, name: string, ...flags: string[]): Promise<string> => {
    const path = join(dir, name);
    const source = join(SOURCES, `${name}.c`);
    const child = Bun.spawn([compiler, ...WARNINGS, ...flags, source, "-o", path], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    const [stderr, code] = await Promise.all([child.stderr.text(), child.exited]);
    if (code !== 0) throw new Error(`${compiler} can't compile ${source}: ${stderr}`);
    return path;
  };
  const [enter, sensor, witness] = await Promise.all([
    compile("gcc", "enter", "-static"),
    compile(machine.compiler, "sensor", "-static"),
    compile(machine.compiler, "witness", "-shared", "-fPIC"),
  ]);
  return { enter, sensor, witness: readFileSync(witness) };
}
