/**
 * What a sensor's frames wait in until the coordinator has acknowledged them: the interface between the sensor's output
 * (append), its uplink (read, ack, reject) and the counters. `memory-spool.ts` fills it; a spool on disk fits behind it too.
 *
 * Frames are numbered from 1 without gaps in the order they were appended; `(spoolId, seq)` names a frame for good.
 */
import type { SpoolId } from "@fleet/protocol";

/** Frames that follow each other, ready for the wire. */
export interface SpoolChunk {
  readonly firstSeq: number;
  readonly lastSeq: number;
  /** The frames, each with its LF. A view that is only valid until the next call on the spool. */
  readonly bytes: Uint8Array;
}

/** Where every frame that was ever appended has gone: appended = acked + held + Σ dropped. (A16) */
export interface SpoolStats {
  readonly acked: number;
  readonly held: number;
  readonly heldBytes: number;
  /** By reason: `spool_full`, `rejected:<code>`. */
  readonly dropped: Readonly<Record<string, number>>;
}

/** A bounded, ordered store of frames that are not yet acknowledged. */
export interface Spool {
  readonly spoolId: SpoolId;
  /** The number of the oldest frame it holds; `nextSeq` when it holds none. */
  readonly firstSeq: number;
  /** The number the next appended frame gets. */
  readonly nextSeq: number;
  /** Takes a copy of the line `bytes[start..end)`, without its LF. At the bound the oldest frames are dropped and counted. */
  append(bytes: Uint8Array, start: number, end: number): void;
  /**
   * The frames from `fromSeq`, or from the oldest one held when that is younger, at most `bytesMax` of them but at least
   * one. Undefined when there are none yet.
   */
  read(fromSeq: number, bytesMax: number): SpoolChunk | undefined;
  /** Everything up to `seq` is in the coordinator's hands. Numbers it does not hold any more are ignored. */
  ack(seq: number): void;
  /** The coordinator would not have frame `seq`: it will be counted as dropped, not as acked. */
  reject(seq: number, code: string): void;
  stats(): SpoolStats;
  /** Sets who is told after each append. The call must be cheap and must not call back. */
  onAppend(listener: () => void): void;
}
