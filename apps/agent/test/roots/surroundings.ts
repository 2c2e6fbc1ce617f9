/** What all roots of a test file share: compiled programs, a coordinator outside and a trap proxy. It also creates the roots. */
import { afterAll, beforeAll } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { addHostileFiles, TrapProxy } from "./hostile.ts";
import type { Kind, Stock } from "./kinds.ts";
import type { Machine } from "./machine.ts";
import { Outside } from "./outside.ts";
import { CACHE } from "./packages.ts";
import { PROCESSORS } from "./processor.ts";
import { compilePrograms, type Programs } from "./programs.ts";
import { AGENT, NOBODY, Root } from "./root.ts";

/** The file that programs/witness.c writes. */
export const WITNESSED = "/state/witnessed";

const RUNNING = "running-";

/** The programs, the coordinator and the trap of a test file; created before its tests, closed after them. */
export interface Surroundings {
  readonly stock: Stock;
  trap(): TrapProxy;
  outside(): Outside;
  /** A root with only the agent and its /state, or with everything in the directory `from` of CACHE. */
  plain(name: string, from?: string): Root;
  /** A root of this kind, with the agent, the sensor, /state and all hostile files. */
  make(kind: Kind): Root;
}

/** Call it in a `describe`. */
export function useSurroundings(machine: Machine): Surroundings {
  const processor = PROCESSORS[machine.arch];
  const isEmulated = machine.emulator !== undefined;
  const stock: Stock = { processor, packages: machine.packages, isEmulated };
  const roots: Root[] = [];
  let dir = "";
  let trap: TrapProxy | undefined;
  let programs: Programs | undefined;
  let outside: Outside | undefined;
  beforeAll(async () => {
    // On the file system of the link sources.
    mkdirSync(CACHE, { recursive: true });
    removeAbandoned();
    dir = mkdtempSync(join(CACHE, `${RUNNING}${process.pid}-`));
    trap = new TrapProxy();
    programs = await compilePrograms(machine, dir);
    outside = await Outside.start(machine.coordinator, join(dir, "outside"));
  });
  afterAll(async () => {
    await Promise.all(roots.map((root) => root.close()));
    trap?.close();
    await outside?.stop();
    rmSync(dir, { recursive: true, force: true });
  });
  const plain = (name: string, from?: string): Root => {
    const tools = { enter: programs!.enter, emulator: machine.emulator };
    const root = new Root(join(dir, name), tools, from);
    roots.push(root);
    root.bind(AGENT, machine.agent);
    root.directory("/state", 0o700, NOBODY);
    return root;
  };
  return {
    stock,
    trap: () => trap!,
    outside: () => outside!,
    plain,
    make(kind) {
      const { sensor, witness } = programs!;
      const root = plain(kind.name);
      kind.populate(root, stock);
      root.bind("/sensor", sensor);
      root.file(WITNESSED, "", 0o666);
      addHostileFiles(root, witness);
      return root;
    },
  };
}

/** Removes the roots of killed runs. */
function removeAbandoned(): void {
  for (const name of readdirSync(CACHE)) {
    const pid = name.startsWith(RUNNING) ? name.slice(RUNNING.length).split("-")[0]! : undefined;
    if (pid !== undefined && !existsSync(`/proc/${pid}`))
      rmSync(join(CACHE, name), { recursive: true, force: true });
  }
}
