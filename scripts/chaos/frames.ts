/**
 * Frames as the chaos test knows them: by the run of their source (of a sensor's process; of a plain node's connection) and
 * their number in it. Pure, but for reading files.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  BATCH_HEADER_BYTES,
  decodeBatchHeader,
  findMark,
  holdsFrames,
} from "../../apps/agent/src/spool/spool-batch.ts";

const RUN_FACTOR = 1e8;
const RECORD_BYTES = 24;
const LF = 10;
const HEAD = /^\{"timestamp":\d+,"delay":\[(\d+)\],"doppler":\[(\d+)\]/;
const HEAD_BYTES_MAX = 100;

/** A frame as one number: frames of a source compare as they were printed. */
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

/** The frames in whole lines of `bytes`; `strange` gets the beginning of each line that is none of ours. */
export function framesIn(bytes: Buffer, strange: (line: string) => void): FrameKey[] {
  const keys: FrameKey[] = [];
  for (let at = 0, end = bytes.indexOf(LF); end >= 0; at = end + 1, end = bytes.indexOf(LF, at)) {
    const head = bytes.toString("latin1", at, Math.min(end, at + HEAD_BYTES_MAX));
    const [, run, n] = HEAD.exec(head) ?? [];
    if (run === undefined || bytes[end - 1] !== 0x7d) strange(head);
    else keys.push(keyOf(Number(run), Number(n)));
  }
  return keys;
}

/** What a sensor's run wrote down of itself: `done` lines were printed whole, and at most one more. */
export interface SensorRun {
  readonly run: number;
  /** Which start of the agent it was part of. */
  readonly life: number;
  readonly begun: number;
  readonly done: number;
}

/** The records in a sensor's directory. */
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

/** What one tracker process was given on one connection. */
export interface TrackerInput {
  /** Which start of the coordinator it was part of. */
  readonly life: number;
  readonly pid: number;
  /** The tracker saw the end of its input; else it was killed, or is still at it. */
  readonly isEnded: boolean;
  readonly frames: readonly FrameKey[];
}

/** The recordings of a stream, in the order they were begun. */
export function readInputs(dir: string, strange: (line: string) => void): readonly TrackerInput[] {
  return inputNames(dir).map((name) => {
    const [, life, pid, end] = name.split(".");
    return {
      life: Number(life),
      pid: Number(pid),
      isEnded: end === "end",
      frames: framesIn(readFileSync(join(dir, name)), strange),
    };
  });
}

/** The names of the recordings of a stream, oldest first. */
export function inputNames(dir: string): readonly string[] {
  try {
    return readdirSync(dir).toSorted();
  } catch {
    return [];
  }
}

/** The frames in whole batches of a spool's files: what a killed agent has promised. */
export function committedFrames(spoolDir: string): readonly FrameKey[] {
  return spoolFiles(spoolDir).flatMap((path) => batchesIn(readFileSync(path)));
}

/** The files of frames in a spool's directory. */
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
