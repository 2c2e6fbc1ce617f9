/**
 * Keeps what a detection found, with everything that was looked at, so that the next start on an unchanged image need not run anything.
 * It is an aid: whatever is wrong with its file, detection goes the long way, and nobody is told. (A4)
 *
 * The file is one line with a checksum and one with JSON, mode 0600, at most CACHE_BYTES_MAX. It is read only when it is ours
 * alone to write, because what it says is run.
 */
import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readFileSync,
  renameSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import type { Findings } from "../image-report.ts";
import type { CustomInterpreter } from "../probe/interpreters.ts";
import { type Environment, isUnchanged, type Seen } from "../inspect/file-observer.ts";

export interface CacheOptions {
  /** Its file; the directory is not created. */
  readonly path: string;
  /** Of the program: another one may look for other things. */
  readonly version: string;
  /** Does not read it, only writes it. */
  readonly fresh: boolean;
}

/** What was asked, beside what the image is. */
export interface Question {
  readonly interpreters: readonly CustomInterpreter[];
  readonly pathOnly: boolean;
  readonly timeoutMs: number;
}

interface Kept {
  readonly key: string;
  readonly seen: Seen;
  readonly findings: Findings;
}

export const CACHE_BYTES_MAX = 1024 * 1024;

/** Rises when the meaning of the file changes. */
const FORMAT = 1;

/** The findings of an earlier run that would be the same now; undefined when there are none. `isSelf`: whether the agent lies at a path. */
export function readCache(
  options: CacheOptions,
  question: Question,
  env: Environment,
  isSelf: (path: string) => boolean,
): Findings | undefined {
  if (options.fresh) return undefined;
  const kept = readKept(options.path);
  if (kept === undefined || kept.key !== keyOf(options, question)) return undefined;
  return isUnchanged(kept.seen, env, isSelf) ? kept.findings : undefined;
}

/** Replaces the file as a whole. Not synced to the disk: a damaged one is as good as none. */
export function writeCache(
  options: CacheOptions,
  question: Question,
  seen: Seen,
  findings: Findings,
): void {
  const body = JSON.stringify({ key: keyOf(options, question), seen, findings } satisfies Kept);
  if (Buffer.byteLength(body) > CACHE_BYTES_MAX - 64) return;
  const temporary = `${options.path}.${process.pid}.tmp`;
  try {
    writeFileSync(temporary, `${checksum(body)}\n${body}`, { mode: 0o600, flag: "wx" });
    renameSync(temporary, options.path);
  } catch {
    try {
      unlinkSync(temporary);
    } catch {
      // It could not even be created.
    }
  }
}

function readKept(path: string): Kept | undefined {
  try {
    const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const stat = fstatSync(file);
      const isOurs = stat.uid === process.geteuid?.() && (stat.mode & 0o022) === 0;
      if (!stat.isFile() || !isOurs || stat.size > CACHE_BYTES_MAX) return undefined;
      const text = readFileSync(file, "utf8");
      const lineEnd = text.indexOf("\n");
      const body = text.slice(lineEnd + 1);
      if (lineEnd < 0 || text.slice(0, lineEnd) !== checksum(body)) return undefined;
      return JSON.parse(body) as Kept;
    } finally {
      closeSync(file);
    }
  } catch {
    return undefined;
  }
}

function keyOf({ version }: CacheOptions, question: Question): string {
  const user = [process.geteuid?.(), process.getegid?.(), process.getgroups?.()];
  return JSON.stringify([FORMAT, version, process.arch, user, question]);
}

function checksum(body: string): string {
  return Bun.hash(body).toString(16);
}
