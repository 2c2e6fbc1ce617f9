/**
 * One sensor's spool directory: opened, locked against a second agent, and with what an earlier run left in it found out. Used
 * by DiskSpool. (A16)
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Clock, Log } from "@fleet/daemon";
import { tryLock } from "../state/file-lock.ts";
import { type Books, SpoolManifest } from "./spool-manifest.ts";
import { SpoolFiles } from "./spool-files.ts";
import { SpoolReader } from "./spool-reader.ts";
import { recover } from "./spool-recovery.ts";
import { newSpoolId } from "./spool.ts";

const BOOKS_NAME = "spool.state";
const DIR_MODE = 0o700;
/** So much of the spool is in one file, and goes at once when the oldest has to go. */
const FILE_PART = 16;
const FILE_BYTES_MAX = 8 * 1024 * 1024;
/** A kill wastes at most so many numbers, of 2^53; writing down that they are used waits for the disk. */
const RESERVED_AHEAD = 2 ** 24;

/** What is to be opened. Files are begun anew at the age of `ageMs`. */
export interface SpoolDirOptions {
  readonly dir: string;
  readonly bytesMax: number;
  readonly ageMs: number;
  readonly clock: Clock;
  readonly log: Log;
}

/** What was there. */
export interface OpenedSpool {
  readonly dir: SpoolDir;
  /** As they stand now, `dropped` with what was found damaged. `reserved` is the next number to use. */
  readonly manifest: Books;
  /** The number of the oldest frame; undefined without one. */
  readonly firstSeq: number | undefined;
  /** Numbers that may have been used and were not written, in the end of a run that was killed. */
  readonly unknown: { readonly from: number; readonly to: number } | undefined;
  readonly held: number;
}

/** What is open of a directory. */
export class SpoolDir {
  readonly files: SpoolFiles;
  readonly reader = new SpoolReader();
  readonly #manifest: SpoolManifest;

  private constructor(files: SpoolFiles, manifest: SpoolManifest) {
    this.files = files;
    this.#manifest = manifest;
  }

  /** Opens it, or says in the log why it can't be used and gives nothing. */
  static open(options: SpoolDirOptions): OpenedSpool | undefined {
    const { dir, log } = options;
    let manifest: SpoolManifest | undefined;
    try {
      mkdirSync(dir, { recursive: true, mode: DIR_MODE });
      manifest = new SpoolManifest(join(dir, BOOKS_NAME));
      if (tryLock(manifest.fd) === "busy") throw new Error("another agent has it open");
      return openWith(manifest, options);
    } catch (err) {
      manifest?.close();
      log.error({ err, path: dir }, "the spool is in memory only: its directory can't be used");
      return undefined;
    }

    function openWith(
      file: SpoolManifest,
      { bytesMax, ageMs, clock }: SpoolDirOptions,
    ): OpenedSpool {
      const fileBytesMax = Math.min(FILE_BYTES_MAX, Math.ceil(bytesMax / FILE_PART));
      const files = new SpoolFiles(dir, fileBytesMax, ageMs);
      const before = file.read();
      const found = recover(dir, files, before, clock);
      const { nextSeq, acked, numbered, damaged, foreign } = found;
      const held = files.framesFrom(found.firstSeq ?? nextSeq);
      tell(log, dir, { held, damaged, foreign, isLost: before === undefined && nextSeq > 1 });
      const reserved = Math.max(nextSeq, before?.reserved ?? 1);
      const dropped = { ...before?.dropped };
      if (damaged > 0) dropped["damaged"] = (dropped["damaged"] ?? 0) + damaged;
      return {
        dir: new SpoolDir(files, file),
        manifest: {
          spoolId: before?.spoolId ?? newSpoolId(),
          reserved,
          firstSeq: found.firstSeq ?? reserved,
          settled: reserved,
          numbered,
          acked,
          dropped,
          refused: before?.refused ?? 0,
        },
        firstSeq: found.firstSeq,
        unknown: reserved > nextSeq ? { from: nextSeq, to: reserved - 1 } : undefined,
        held,
      };
    }
  }

  /** Up to where numbers may be reserved, for the next to be used is `nextSeq`. */
  limitAbove(nextSeq: number): number {
    return nextSeq + RESERVED_AHEAD;
  }

  writeBooks(manifest: Books, isSynced: boolean): void {
    this.#manifest.write(manifest, isSynced);
  }

  /** Closes all. */
  close(): void {
    this.reader.close();
    this.files.close();
    this.#manifest.close();
  }
}

interface Findings {
  readonly held: number;
  readonly damaged: number;
  readonly foreign: number;
  readonly isLost: boolean;
}

function tell(log: Log, path: string, { held, damaged, foreign, isLost }: Findings): void {
  if (held > 0) log.info({ frames: held }, "frames of an earlier run wait in the spool");
  if (damaged > 0) log.error({ path, frames: damaged }, "frames in the spool are damaged; dropped");
  if (isLost)
    log.error({ path }, "the spool's books can't be read; its frames are sent under a new id");
  // The books themselves are one.
  if (foreign > 1)
    log.warn({ path, files: foreign - 1 }, "files in the spool are none of its own; left alone");
}
