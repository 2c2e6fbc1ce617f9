/** The inits that images bring, and ours, each as the command that starts a program under it as PID 1. For tests. */
import { chmodSync, mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const EXIT_NO_RESTART = 125;

/** A command that runs `program`; `dir` is for files it needs, which any user may have to read. */
type Start = (program: readonly string[], dir: string) => readonly string[];

/** By name; `ours` is for linked files, which bring it. */
export const INITS = {
  ours: (program) => program,
  tini: (program) => ["tini", "--", ...program],
  "tini -g": (program) => ["tini", "-g", "--", ...program],
  "dumb-init": (program) => ["dumb-init", "--", ...program],
  "dumb-init -c": (program) => ["dumb-init", "-c", "--", ...program],
  s6: (program, dir) => ["s6-svscan", scanDirectory(program, dir)],
} as const satisfies Readonly<Record<string, Start>>;

export type Init = keyof typeof INITS;

/** What of them this machine lacks; undefined when they are all here. */
export function missingInits(): string | undefined {
  const missing = ["tini", "dumb-init", "s6-svscan"].filter((name) => Bun.which(name) === null);
  return missing.length === 0 ? undefined : `${missing.join(", ")} (Debian: tini, dumb-init, s6)`;
}

/** As images with s6 do it: a service that ends takes the container with it, and its code is the container's. */
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
    // s6 keeps its locks and pipes there, as whoever runs it.
    chmodSync(join(scan, part), 0o777);
  }
  chmodSync(scan, 0o777);
  for (const [path, text] of Object.entries(scripts)) {
    writeFileSync(join(scan, path), `#!/bin/sh\n${text}\n`);
    chmodSync(join(scan, path), 0o755);
  }
  return scan;
}
