/**
 * Reads stdout and stderr of one process to their end. Guarantees: chunks are delivered in order; a slow reader of stdout slows
 * the process down; after the exit of the process, reading ends in bounded time even if other processes hold the pipes open.
 * Used by Child and runOnce.
 */
import type { Clock, Timer } from "@fleet/daemon";

import type { ByteSource } from "./byte-source.ts";
import type { SpawnedProcess } from "./spawn.ts";

/** After an exit, an output that stays silent for this long is closed: only a process outside the group can hold it open. */
export const DRAIN_SILENT_MS = 500;

/** Bytes read from each output after the exit. A pipe holds at most 1 MiB, so anything beyond comes from another process. */
export const DRAIN_BYTES_MAX = 2 * 1024 * 1024;

/** Receivers of the chunks. Returning a promise pauses reading until it settles. Must not throw or reject. */
export interface OutputSinks {
  readonly onStdout: (chunk: Uint8Array) => void | Promise<void>;
  readonly onStderr: (chunk: Uint8Array) => void;
}

/** Reads the outputs of one process. */
export class Outputs {
  /** Resolves when both outputs have ended; no chunk is delivered afterwards. */
  readonly ended: Promise<void>;
  readonly #out: Pump;
  readonly #err: Pump;

  constructor(clock: Clock, child: SpawnedProcess, sinks: OutputSinks) {
    this.#out = new Pump(clock, child.stdout, sinks.onStdout);
    this.#err = new Pump(clock, child.stderr, sinks.onStderr);
    this.ended = Promise.all([this.#out.ended, this.#err.ended]).then(() => {});
  }

  /** After the exit: reads at most DRAIN_BYTES_MAX more of each output, until its end or DRAIN_SILENT_MS of silence. */
  drain(): Promise<void> {
    this.#out.drain();
    this.#err.drain();
    return this.ended;
  }

  /** Stops reading immediately, without waiting for a busy sink. */
  close(): void {
    this.#out.close();
    this.#err.close();
  }
}

class Pump {
  readonly ended: Promise<void>;
  readonly #clock: Clock;
  readonly #source: ByteSource;
  readonly #sink: (chunk: Uint8Array) => void | Promise<void>;
  readonly #closed = Promise.withResolvers<void>();
  #draining = false;
  #reading = false;
  #isClosed = false;
  #bytesLeft = DRAIN_BYTES_MAX;
  #silence: Timer | undefined;

  constructor(clock: Clock, source: ByteSource, sink: (chunk: Uint8Array) => void | Promise<void>) {
    this.#clock = clock;
    this.#source = source;
    this.#sink = sink;
    this.ended = Promise.race([this.#run(), this.#closed.promise]);
  }

  drain(): void {
    this.#draining = true;
    if (this.#reading) this.#watchSilence();
  }

  close(): void {
    this.#isClosed = true;
    this.#source.close();
    this.#silence?.cancel();
    this.#closed.resolve();
  }

  async #run(): Promise<void> {
    for (;;) {
      this.#reading = true;
      if (this.#draining) this.#watchSilence();
      const chunk = await this.#source.read();
      this.#reading = false;
      this.#silence?.cancel();
      if (chunk === undefined || this.#isClosed) break;
      const busy = this.#sink(chunk);
      if (busy !== undefined) await busy;
      if (this.#draining && (this.#bytesLeft -= chunk.byteLength) <= 0) break;
    }
    this.#source.close();
  }

  #watchSilence(): void {
    this.#silence?.cancel();
    this.#silence = this.#clock.after(DRAIN_SILENT_MS, () => this.close());
  }
}
