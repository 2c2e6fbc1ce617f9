/**
 * Opens the spool directory of one sensor: creates it, locks it against a second agent, and recovers what an earlier run left in
 * it. Used by DiskSpool. (A16)
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Clock, Log } from "@fleet/daemon";
import { tryLock } from "../state/file-lock.ts";
import { SpoolFiles } from "./spool-files.ts";
import { type Manifest, ManifestFile } from "./spool-manifest.ts";
import { recover } from "./spool-recovery.ts";
import { newSpoolId } from "./spool.ts";

const MANIFEST_NAME = "spool.state";
const DIR_MODE = 0o700;
/** A file holds at most this share of the spool; the oldest file is dropped as a whole. */
const FILES_MIN = 16;
const FILE_BYTES_MAX = 8 * 1024 * 1024;

/** What to open. A file that is `fileAgeMs` old gets no more batches. */
export interface SpoolDirOptions {
  readonly dir: string;
  readonly bytesMax: number;
  readonly fileAgeMs: number;
  readonly clock: Clock;
  readonly log: Log;
}

/** An open, locked directory. */
export interface OpenSpoolDir {
  /** With the frames of earlier runs. */
  readonly files: SpoolFiles;
  readonly manifestFile: ManifestFile;
  /** As recovered; `reserved` is the next number to use. */
  readonly manifest: Manifest;
  /** Numbers that a killed run may have used without writing the frames. */
  readonly unknown: { readonly from: number; readonly to: number } | undefined;
}

/** Opens the directory. If it can't be used, logs the reason and returns undefined. */
export function openSpoolDir(options: SpoolDirOptions): OpenSpoolDir | undefined {
  const { dir, log } = options;
  let file: ManifestFile | undefined;
  try {
    mkdirSync(dir, { recursive: true, mode: DIR_MODE });
    file = new ManifestFile(join(dir, MANIFEST_NAME));
    if (tryLock(file.fd) === "busy") throw new Error("another agent has it open");
    return openWith(file, options);
  } catch (err) {
    file?.close();
    log.error({ err, path: dir }, "the spool is in memory only: its directory can't be used");
    return undefined;
  }
}

function openWith(manifestFile: ManifestFile, options: SpoolDirOptions): OpenSpoolDir {
  const { dir, bytesMax, fileAgeMs, clock } = options;
  const fileBytesMax = Math.min(FILE_BYTES_MAX, Math.ceil(bytesMax / FILES_MIN));
  const files = new SpoolFiles(dir, fileBytesMax, fileAgeMs);
  const before = manifestFile.read();
  const { nextSeq, acked, numbered, damaged, foreign } = recover(dir, files, before, clock);
  const isManifestLost = before === undefined && nextSeq > 1;
  report(options, { frames: files.frames, damaged, foreign, isManifestLost });
  const reserved = Math.max(nextSeq, before?.reserved ?? 1);
  const dropped = { ...before?.dropped };
  if (damaged > 0) dropped["damaged"] = (dropped["damaged"] ?? 0) + damaged;
  return {
    files,
    manifestFile,
    manifest: {
      spoolId: before?.spoolId ?? newSpoolId(),
      reserved,
      firstSeq: files.firstSeq ?? reserved,
      settled: reserved,
      numbered,
      acked,
      dropped,
      refused: before?.refused ?? 0,
    },
    unknown: reserved > nextSeq ? { from: nextSeq, to: reserved - 1 } : undefined,
  };
}

interface Findings {
  readonly frames: number;
  readonly damaged: number;
  /** Names in the directory that are not spool files, the manifest included. */
  readonly foreign: number;
  readonly isManifestLost: boolean;
}

function report({ log, dir: path }: SpoolDirOptions, findings: Findings): void {
  const { frames, damaged, foreign, isManifestLost } = findings;
  if (frames > 0) log.info({ frames }, "the spool holds frames of an earlier run");
  if (damaged > 0) log.error({ path, frames: damaged }, "dropped damaged frames from the spool");
  if (isManifestLost)
    log.error({ path }, "the spool's manifest is unreadable: its frames get a new spool id");
  if (foreign > 1)
    log.warn({ path, files: foreign - 1 }, "left files alone that do not belong to the spool");
}
