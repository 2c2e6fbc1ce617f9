/** Test helper: the common inits of images, and ours, each as the command that starts a program under it as PID 1. */
import { chmodSync, mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const EXIT_NO_RESTART = 125;

/** Returns the command that runs `program` under an init. `dir` is for its files, which must be readable by any user. */
type Start = (program: readonly string[], dir: string) => readonly string[];

/** By name. `ours` requires a linked file, which contains our init. */
export const INITS = {
  ours: (program) => program,
  tini: (program) => ["tini", "--", ...program],
  "tini -g": (program) => ["tini", "-g", "--", ...program],
  "dumb-init": (program) => ["dumb-init", "--", ...program],
  "dumb-init -c": (program) => ["dumb-init", "-c", "--", ...program],
  s6: (program, dir) => ["s6-svscan", scanDirectory(program, dir)],
} as const satisfies Readonly<Record<string, Start>>;

export type Init = keyof typeof INITS;

/** The inits missing on this machine; undefined when all are installed. */
export function missingInits(): string | undefined {
  const missing = ["tini", "dumb-init", "s6-svscan"].filter((name) => Bun.which(name) === null);
  return missing.length === 0 ? undefined : `${missing.join(", ")} (Debian: tini, dumb-init, s6)`;
}

/** Configures s6 like the images that use it: when the service ends, the container ends with its exit code. */
function scanDirectory(program: readonly string[], dir: string): string {
  const scan = mkdtempSync(join(dir, "scan-"));
  const code = join(scan, "code");
  const scripts = {
    "program/run": `exec ${program.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ")}`,
    "program/finish": [
      `[ $1 != 256 ] && echo $1 >${code} || echo $((128 + $2)) >${code}`,
      `s6-svscanctl -t ${scan}`,
      `exit ${EXIT_NO_RESTART}`,
    ].join("\n"),
    ".s6-svscan/finish": `read -r code <${code}; exit $code`,
  };
  for (const part of ["program", ".s6-svscan"]) {
    mkdirSync(join(scan, part));
    // s6 creates its locks and pipes there as the user that runs it.
    chmodSync(join(scan, part), 0o777);
  }
  chmodSync(scan, 0o777);
  for (const [path, text] of Object.entries(scripts)) {
    writeFileSync(join(scan, path), `#!/bin/sh\n${text}\n`);
    chmodSync(join(scan, path), 0o755);
  }
  return scan;
}
