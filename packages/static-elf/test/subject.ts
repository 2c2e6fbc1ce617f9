/** Compiles and links subject.c, a small program for the tests of inits that starts within a millisecond. */
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { linkStatic, type Machine } from "../src/index.ts";

const SOURCE = join(import.meta.dirname, "subject.c");
/** Numbers of signal(7) for x86_64 and aarch64. */
export const SIGNAL = {
  HUP: 1,
  INT: 2,
  QUIT: 3,
  KILL: 9,
  USR1: 10,
  SEGV: 11,
  USR2: 12,
  TERM: 15,
  CHLD: 17,
  CONT: 18,
  STOP: 19,
  TSTP: 20,
  WINCH: 28,
  PWR: 30,
  RTMIN_3: 37,
  RTMAX: 64,
} as const;

/** Both forms of the subject, in `dir`. */
export interface Subject {
  readonly plain: string;
  readonly linked: string;
}

/** Compiles it with `compiler` and links it. */
export function buildSubject(dir: string, compiler = "gcc", machine?: Machine): Subject {
  const plain = join(dir, `subject-${machine ?? "plain"}`);
  const linked = `${plain}-linked`;
  // At a fixed address, like Bun's executables.
  const flags = ["-O1", "-Wall", "-Wextra", "-Werror", "-no-pie"];
  const { stderr } = Bun.spawnSync([compiler, ...flags, SOURCE, "-o", plain]);
  if (stderr.length > 0) throw new Error(stderr.toString());
  writeFileSync(linked, linkStatic(plain, readFileSync(plain)).bytes);
  for (const path of [dir, plain, linked]) chmodSync(path, 0o755);
  return { plain, linked };
}
