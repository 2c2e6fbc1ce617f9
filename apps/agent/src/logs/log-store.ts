/** Where the lines of a sensor's log are kept: in files of the state directory, or in memory where there is none. (A11) */
import { StderrRing } from "@fleet/supervisor";

/** The longest line that is stored, LF included; what makes lines sees to it. */
export const STORED_LINE_BYTES_MAX = 9 * 1024;

/** Of each sensor, without a state directory. */
const MEMORY_BYTES_MAX = 64 * 1024;

/** Keeps the youngest lines within a bound of its own. Neither call throws: a store that can't keep a line says so once and counts. */
export interface LogStore {
  /** Whole lines, each with its LF and at most STORED_LINE_BYTES_MAX. */
  append(lines: readonly Uint8Array[]): void;
  /** The last `linesMax` lines, oldest first, without their LF. */
  tail(linesMax: number): string[];
  /** Frees what it holds; nothing is appended any more. */
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
