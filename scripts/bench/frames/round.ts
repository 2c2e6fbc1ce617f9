/** What the sections of the frame bench share: alternating rounds, an empty directory for each, and the parts as processes. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePorts } from "../shared/processes.ts";
import type { Control } from "./control.ts";

const PARTS = {
  source: "ends/source.ts",
  sink: "ends/sink.ts",
  "latency-driver": "latency/driver.ts",
} as const;

/** A round about to begin. */
export interface Round {
  /** Empty at the start. */
  readonly dir: string;
  /** A free port for the sink. */
  readonly sinkPort: number;
}

/** Measures every contender once in each of `rounds` rounds. Returns the figures of each contender, by round. */
export async function alternate<Contender, Figures>(
  contenders: readonly Contender[],
  rounds: number,
  measure: (contender: Contender) => Promise<Figures>,
): Promise<readonly (readonly Figures[])[]> {
  const figures = contenders.map((): Figures[] => []);
  for (let round = 0; round < rounds; round++) {
    for (const [i, contender] of contenders.entries()) figures[i]!.push(await measure(contender));
  }
  return figures;
}

/** Forgets the last round. */
export function beginRound(control: Control, dir: string): Round {
  control.reset();
  const own = join(dir, "round");
  rmSync(own, { recursive: true, force: true });
  mkdirSync(own);
  const [sinkPort] = freePorts(1) as [number];
  return { dir: own, sinkPort };
}

/** Starts a part with its orders. It runs until it is killed; if it ends before that, the round fails. */
export function startPart(
  control: Control,
  name: keyof typeof PARTS,
  dir: string,
  orders: object,
): Bun.Subprocess {
  const file = join(dir, `${name}.json`);
  writeFileSync(file, JSON.stringify(orders));
  return Bun.spawn([process.execPath, join(import.meta.dir, PARTS[name]), file], {
    stdio: ["ignore", "inherit", "inherit"],
    onExit(_child, exitCode) {
      if (exitCode !== null) control.fail(new Error(`the ${name} ended with ${exitCode}`));
    },
  });
}
