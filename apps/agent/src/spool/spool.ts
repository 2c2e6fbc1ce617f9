/**
 * What a sensor's frames wait in until the coordinator has acknowledged them: the interface between the sensor's output
 * (append), its uplink (read, ack, reject) and the counters. `disk-spool.ts` is the one sensors have.
 *
 * Frames are numbered from 1 in the order they were appended; `(spoolId, seq)` names a frame for good. Numbers are left out only
 * where an earlier run ended without saying how far it had come, or where frames were dropped or damaged.
 */
import { type SpoolId, spoolIdSchema } from "@fleet/protocol";

/** Frames that follow each other, ready for the wire. */
export interface SpoolChunk {
  readonly firstSeq: number;
  readonly lastSeq: number;
  /** The frames, each with its LF. A view that is only valid until the next call on the spool. */
  readonly bytes: Uint8Array;
}

/** Where every frame that was ever appended has gone: appended = acked + held + Σ dropped. (A16) */
export interface SpoolStats {
  readonly appended: number;
  readonly acked: number;
  readonly held: number;
  readonly heldBytes: number;
  /** By reason: `spool_full`, `too_old`, `damaged`, `rejected:<code>`. */
  readonly dropped: Readonly<Record<string, number>>;
}

/** A bounded, ordered store of frames that are not yet acknowledged. */
export interface Spool {
  readonly spoolId: SpoolId;
  /** Where a session begins: the number of the oldest frame it holds, or one below that the coordinator may know more of. */
  readonly firstSeq: number;
  /** The number the next appended frame gets. */
  readonly nextSeq: number;
  /** How many frames it holds. */
  readonly held: number;
  /** Takes a copy of the line `bytes[start..end)`, without its LF. At the bound frames are dropped and counted. */
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
  /** Settles when frames should come again; undefined when they may. (`on_full: block`) */
  room(): Promise<void> | undefined;
  /**
   * A session begins: the coordinator has everything up to `acked` from earlier ones. False when such numbers were never used,
   * as after the state directory was put back from a copy: the spool goes on under a new `spoolId`, with the same numbers.
   */
  resume(acked: number): boolean;
  /** Sets who is told after each append. The call must be cheap and must not call back. */
  onAppend(listener: () => void): void;
}

/** An id no spool has had. */
export function newSpoolId(): SpoolId {
  return spoolIdSchema.parse(crypto.randomUUID());
}
