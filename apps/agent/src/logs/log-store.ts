/** The storage of a sensor's log: files in the state directory (rotated-file.ts), or memory without one. (A11) */
import { StderrRing } from "@fleet/supervisor";

/** The longest line, LF included; SensorLog enforces it. */
export const STORED_LINE_BYTES_MAX = 9 * 1024;

/** The memory for the log of one sensor. */
const MEMORY_BYTES_MAX = 64 * 1024;

/** Keeps the youngest lines within its bound. No method throws: a store that can't keep lines counts them and reports that once. */
export interface LogStore {
  /** Appends whole lines, each with its LF and at most STORED_LINE_BYTES_MAX long. */
  append(lines: readonly Uint8Array[]): void;
  /** The last `linesMax` lines, oldest first, without their LF. */
  tail(linesMax: number): string[];
  /** Frees its resources; nothing may be appended afterwards. */
  close(): void;
}

/** The store of an agent without a state directory. */
export function memoryStore(bytesMax = MEMORY_BYTES_MAX): LogStore {
  const ring = new StderrRing(bytesMax);
  return {
    append: (lines) => {
      for (const line of lines) ring.push(line);
    },
    tail: (linesMax) => ring.lines(linesMax),
    close: () => ring.clear(),
  };
}
