/**
 * Stores the findings of a detection with everything it observed, so that the next start on an unchanged image runs no version
 * commands. Problems with the file are not reported: detection then runs in full. (A4)
 *
 * The file is one line with a checksum and one line of JSON, mode 0600, at most CACHE_BYTES_MAX. It is read only if nobody but
 * the agent's user can write it, because the agent runs the programs it names.
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
import { type Environment, isUnchanged, type Observations } from "../inspect/file-observer.ts";

export interface CacheOptions {
  /** The cache file. Its directory is not created. */
  readonly path: string;
  /** The agent's version. Another version may detect other things, so it does not use this cache. */
  readonly version: string;
  /** Ignores an existing cache and writes a new one. */
  readonly fresh: boolean;
}

/** The options that influence the findings. */
export interface DetectionQuery {
  readonly interpreters: readonly CustomInterpreter[];
  readonly pathOnly: boolean;
  readonly timeoutMs: number;
}

interface CacheFile {
  readonly key: string;
  readonly seen: Observations;
  readonly findings: Findings;
}

export const CACHE_BYTES_MAX = 1024 * 1024;

/** Incremented when the format of the file changes. */
const FORMAT = 1;

/** The stored findings if they are still valid, otherwise undefined. `isSelf`: whether a path is the agent's executable. */
export function readCache(
  options: CacheOptions,
  query: DetectionQuery,
  env: Environment,
  isSelf: (path: string) => boolean,
): Findings | undefined {
  if (options.fresh) return undefined;
  const file = readCacheFile(options.path);
  if (file === undefined || file.key !== keyOf(options, query)) return undefined;
  return isUnchanged(file.seen, env, isSelf) ? file.findings : undefined;
}

/** Replaces the file atomically. It is not synced: the checksum detects a damaged one. */
export function writeCache(
  options: CacheOptions,
  query: DetectionQuery,
  seen: Observations,
  findings: Findings,
): void {
  const body = JSON.stringify({ key: keyOf(options, query), seen, findings } satisfies CacheFile);
  if (Buffer.byteLength(body) > CACHE_BYTES_MAX - 64) return;
  const temporary = `${options.path}.${process.pid}.tmp`;
  try {
    writeFileSync(temporary, `${checksum(body)}\n${body}`, { mode: 0o600, flag: "wx" });
    renameSync(temporary, options.path);
  } catch {
    try {
      unlinkSync(temporary);
    } catch {
      // The temporary file was not created.
    }
  }
}

function readCacheFile(path: string): CacheFile | undefined {
  try {
    const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const stat = fstatSync(file);
      const isTrusted = stat.uid === process.geteuid?.() && (stat.mode & 0o022) === 0;
      if (!stat.isFile() || !isTrusted || stat.size > CACHE_BYTES_MAX) return undefined;
      const text = readFileSync(file, "utf8");
      const lineEnd = text.indexOf("\n");
      const body = text.slice(lineEnd + 1);
      if (lineEnd < 0 || text.slice(0, lineEnd) !== checksum(body)) return undefined;
      return JSON.parse(body) as CacheFile;
    } finally {
      closeSync(file);
    }
  } catch {
    return undefined;
  }
}

function keyOf({ version }: CacheOptions, query: DetectionQuery): string {
  const user = [process.geteuid?.(), process.getegid?.(), process.getgroups?.()];
  return JSON.stringify([FORMAT, version, process.arch, user, query]);
}

function checksum(body: string): string {
  return Bun.hash(body).toString(16);
}
