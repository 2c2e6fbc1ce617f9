/**
 * The interface of the store in which a sensor's frames wait until the coordinator acknowledges them: the sensor's output
 * appends, the uplink reads, acknowledges and rejects, the counters are reported. DiskSpool implements it.
 *
 * Frames are numbered from 1 in the order they were appended; `(spoolId, seq)` identifies a frame forever. Gaps in the numbers
 * are left only where an earlier run was killed before it could record its last number, and where frames were dropped or damaged.
 */
import { type SpoolId, spoolIdSchema } from "@fleet/protocol";

/** Consecutive frames, ready for the wire. */
export interface SpoolChunk {
  readonly firstSeq: number;
  readonly lastSeq: number;
  /** The frames, each with its LF. The view is valid until the next call on the spool. */
  readonly bytes: Uint8Array;
}

/** The fate of every frame ever appended: appended = acked + held + Σ dropped. (A16) */
export interface SpoolStats {
  readonly appended: number;
  readonly acked: number;
  /** Held frames, without those that the coordinator has rejected. */
  readonly held: number;
  /** Bytes in memory and in files, rejected frames included. */
  readonly heldBytes: number;
  /** By reason: `spool_full`, `too_old`, `damaged`, `rejected:<code>`. */
  readonly dropped: Readonly<Record<string, number>>;
}

/** A bounded, ordered store of frames that are not yet acknowledged. */
export interface Spool {
  readonly spoolId: SpoolId;
  /** Where a session starts: the oldest frame held, or below it while frames of a killed run may be with the coordinator. */
  readonly firstSeq: number;
  /** The number of the next appended frame. */
  readonly nextSeq: number;
  /** How many frames it holds. */
  readonly held: number;
  /** Copies the line `bytes[start..end)`, without its LF. At the bound frames are dropped and counted. */
  append(bytes: Uint8Array, start: number, end: number): void;
  /**
   * Frames from `fromSeq` on, or from the oldest frame held if that is younger: at most `bytesMax` bytes, but at least one
   * frame. Undefined when there are none yet.
   */
  read(fromSeq: number, bytesMax: number): SpoolChunk | undefined;
  /** The coordinator has every frame up to `seq`. Numbers the spool no longer holds are ignored. */
  ack(seq: number): void;
  /** The coordinator refused frame `seq`: it counts as dropped, not as acked. */
  reject(seq: number, code: string): void;
  stats(): SpoolStats;
  /** With `on_full: block` and a full spool: settles when there is room again. Undefined when there is room. */
  room(): Promise<void> | undefined;
  /**
   * Starts a session: the coordinator already has every frame up to `acked`. False when such numbers were never used, as after
   * the state directory was restored from a copy: the spool then continues under a new `spoolId` with the same numbers.
   */
  resume(acked: number): boolean;
  /** Sets the listener called after each append. It must be cheap and must not call back into the spool. */
  onAppend(listener: () => void): void;
}

/** An id that no other spool has. */
export function newSpoolId(): SpoolId {
  return spoolIdSchema.parse(crypto.randomUUID());
}
