/**
 * Reads the frames that sensors, spools and trackers have recorded. The chaos test identifies a frame by the run of its source
 * and its number within that run. A run is one process of a sensor, or one connection of a plain node.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  BATCH_HEADER_BYTES,
  decodeBatchHeader,
  findMark,
  holdsFrames,
} from "../../apps/agent/src/bench.ts";

const RUN_FACTOR = 1e8;
const RECORD_BYTES = 24;
const LF = 10;
const HEAD = /^\{"timestamp":\d+,"delay":\[(\d+)\],"doppler":\[(\d+)\]/;
const HEAD_BYTES_MAX = 100;

/** A frame as one number. Frames of one source sort in the order they were printed. */
export type FrameKey = number;

export function keyOf(run: number, n: number): FrameKey {
  return run * RUN_FACTOR + n;
}

export function runOf(key: FrameKey): number {
  return Math.floor(key / RUN_FACTOR);
}

export function numberOf(key: FrameKey): number {
  return key % RUN_FACTOR;
}

/** Returns the frames in the complete lines of `bytes`. Calls `onInvalid` with the start of each line that is not a frame. */
export function framesIn(bytes: Buffer, onInvalid: (line: string) => void): FrameKey[] {
  const keys: FrameKey[] = [];
  for (let at = 0, end = bytes.indexOf(LF); end >= 0; at = end + 1, end = bytes.indexOf(LF, at)) {
    const head = bytes.toString("latin1", at, Math.min(end, at + HEAD_BYTES_MAX));
    const [, run, n] = HEAD.exec(head) ?? [];
    if (run === undefined || bytes[end - 1] !== 0x7d) onInvalid(head);
    else keys.push(keyOf(Number(run), Number(n)));
  }
  return keys;
}

/** The record of a sensor's run. It printed `done` lines completely and began `begun`, at most one more. */
export interface SensorRun {
  readonly run: number;
  /** The agent's life, from 1. */
  readonly life: number;
  readonly begun: number;
  readonly done: number;
}

/** Reads the records in a sensor's directory. */
export function readSensorRuns(dir: string): readonly SensorRun[] {
  return readdirSync(dir)
    .filter((name) => /^\d{5}$/.test(name))
    .toSorted()
    .map((name) => {
      const bytes = readFileSync(join(dir, name));
      const whole = bytes.length === RECORD_BYTES ? bytes : Buffer.alloc(RECORD_BYTES);
      const read = (at: number): number => Number(whole.readBigUInt64LE(at));
      return { run: Number(name), life: read(0), begun: read(8), done: read(16) };
    });
}

/** The input of one tracker process on one connection. */
export interface TrackerInput {
  /** The coordinator's life, from 1. */
  readonly life: number;
  readonly pid: number;
  /** Whether the tracker has read the end of its input. Otherwise it was killed or is still reading. */
  readonly isEnded: boolean;
  readonly frames: readonly FrameKey[];
}

/** Reads the recordings of a stream, oldest first. `onInvalid` as in `framesIn`. */
export function readInputs(
  dir: string,
  onInvalid: (line: string) => void,
): readonly TrackerInput[] {
  return inputNames(dir).map((name) => {
    const [, life, pid, end] = name.split(".");
    return {
      life: Number(life),
      pid: Number(pid),
      isEnded: end === "end",
      frames: framesIn(readFileSync(join(dir, name)), onInvalid),
    };
  });
}

/** Lists the recordings of a stream, oldest first. */
export function inputNames(dir: string): readonly string[] {
  try {
    return readdirSync(dir).toSorted();
  } catch {
    return [];
  }
}

/** Returns the frames in the complete batches of a spool, which survive a kill of the agent. */
export function committedFrames(spoolDir: string): readonly FrameKey[] {
  return spoolFiles(spoolDir).flatMap((path) => batchesIn(readFileSync(path)));
}

/** Lists the frame files of a spool. */
export function spoolFiles(spoolDir: string): readonly string[] {
  if (!existsSync(spoolDir)) return [];
  return readdirSync(spoolDir)
    .filter((name) => name.endsWith(".frames"))
    .map((name) => join(spoolDir, name));
}

function batchesIn(bytes: Buffer): FrameKey[] {
  const keys: FrameKey[] = [];
  for (let at = findMark(bytes, 0); at >= 0; at = findMark(bytes, at + 1)) {
    const header = decodeBatchHeader(bytes, at);
    if (header === undefined) continue;
    const from = at + BATCH_HEADER_BYTES;
    const frames = bytes.subarray(from, from + header.bytes);
    if (holdsFrames(header, frames)) keys.push(...framesIn(Buffer.from(frames), () => {}));
  }
  return keys;
}
