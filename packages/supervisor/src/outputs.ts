/**
 * Reads the two outputs of one process to their end. Guarantees: pieces arrive in order; a slow reader of stdout slows the
 * process; after the process is gone the reading ends in bounded time, whoever still holds the pipes. Used by Child and runOnce.
 */
import type { Clock, Timer } from "@fleet/daemon";

import type { ByteSource } from "./byte-source.ts";
import type { SpawnedProcess } from "./spawn.ts";

/** How long a dead process's output may be silent before it is given up: only a process outside its group can hold it open. */
export const DRAIN_SILENT_MS = 500;

/** How much is still read of each output of a dead process. A pipe holds at most 1 MiB, so more comes from someone else. */
export const DRAIN_BYTES_MAX = 2 * 1024 * 1024;

/** Where the pieces go. A promise pauses the reading of that output until it settles. Must not throw or reject. */
export interface OutputSinks {
  readonly onStdout: (chunk: Uint8Array) => void | Promise<void>;
  readonly onStderr: (chunk: Uint8Array) => void;
}

/** The reading of one process's outputs. */
export class Outputs {
  /** Settles when both outputs have ended; no piece is handed over afterwards. */
  readonly ended: Promise<void>;
  readonly #out: Pump;
  readonly #err: Pump;

  constructor(clock: Clock, child: SpawnedProcess, sinks: OutputSinks) {
    this.#out = new Pump(clock, child.stdout, sinks.onStdout);
    this.#err = new Pump(clock, child.stderr, sinks.onStderr);
    this.ended = Promise.all([this.#out.ended, this.#err.ended]).then(() => {});
  }

  /** The process is gone: reads what is left, at most DRAIN_BYTES_MAX of each, until the end or DRAIN_SILENT_MS of silence. */
  drain(): Promise<void> {
    this.#out.drain();
    this.#err.drain();
    return this.ended;
  }

  /** Ends the reading now. What a sink is still busy with is not waited for. */
  cut(): void {
    this.#out.cut();
    this.#err.cut();
  }
}

class Pump {
  readonly ended: Promise<void>;
  readonly #clock: Clock;
  readonly #source: ByteSource;
  readonly #sink: (chunk: Uint8Array) => void | Promise<void>;
  readonly #cut = Promise.withResolvers<void>();
  #draining = false;
  #reading = false;
  #isCut = false;
  #bytesLeft = DRAIN_BYTES_MAX;
  #silence: Timer | undefined;

  constructor(clock: Clock, source: ByteSource, sink: (chunk: Uint8Array) => void | Promise<void>) {
    this.#clock = clock;
    this.#source = source;
    this.#sink = sink;
    this.ended = Promise.race([this.#run(), this.#cut.promise]);
  }

  drain(): void {
    this.#draining = true;
    if (this.#reading) this.#watchSilence();
  }

  cut(): void {
    this.#isCut = true;
    this.#source.close();
    this.#silence?.cancel();
    this.#cut.resolve();
  }

  async #run(): Promise<void> {
    for (;;) {
      this.#reading = true;
      if (this.#draining) this.#watchSilence();
      const chunk = await this.#source.read();
      this.#reading = false;
      this.#silence?.cancel();
      if (chunk === undefined || this.#isCut) break;
      const busy = this.#sink(chunk);
      if (busy !== undefined) await busy;
      if (this.#draining && (this.#bytesLeft -= chunk.byteLength) <= 0) break;
    }
    this.#source.close();
  }

  #watchSilence(): void {
    this.#silence?.cancel();
    this.#silence = this.#clock.after(DRAIN_SILENT_MS, () => this.cut());
  }
}
