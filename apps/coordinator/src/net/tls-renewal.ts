/** Reloads a listener's certificate when its files change. Used by the frame port and the HTTP server. (T1, H5) */
import { type Clock, every, type Log, type Timer } from "@fleet/daemon";
import { readTlsPair, type TlsFiles, type TlsPair } from "./tls-files.ts";

const RENEW_MS = 60_000;

/** A connection keeps the certificate it was accepted with, so a new certificate needs a new listener. */
export interface TlsRenewalOptions {
  readonly files: TlsFiles;
  readonly clock: Clock;
  readonly log: Log;
  /** The listener's name in the log. */
  readonly name: string;
  /** The path of `files` in the config. */
  readonly place: string;
  /** Replaces the listener by one with this pair. Open connections stay. If it throws, nothing listens until the next attempt. */
  readonly listen: (pair: TlsPair) => void;
}

/**
 * Reads the files every minute. Listens anew if they hold a new pair; logs an unusable pair once and keeps the current one.
 * Tries again after a failure to listen.
 */
export class TlsRenewal {
  readonly #options: TlsRenewalOptions;
  #pair: TlsPair | undefined;
  #isListening = false;
  /** The problem logged last. */
  #problem: string | undefined;
  #timer: Timer | undefined;

  constructor(options: TlsRenewalOptions) {
    this.#options = options;
  }

  /** Listens for the first time. Throws what `listen` throws, or an error if the files changed since the config was checked. */
  start(): void {
    const { files, clock, place } = this.#options;
    const read = readTlsPair(files);
    if (read.at === "bad") throw new Error(`${place}.${read.problem}`);
    this.#listen(read.pair);
    this.#timer = every(clock, RENEW_MS, () => this.#renew());
  }

  stop(): void {
    this.#timer?.cancel();
  }

  #listen(pair: TlsPair): void {
    this.#isListening = false;
    this.#pair = pair;
    this.#options.listen(pair);
    this.#isListening = true;
  }

  #renew(): void {
    const { files, log, name, place } = this.#options;
    const read = readTlsPair(files);
    if (read.at === "bad") {
      this.#report(`${place}.${read.problem}`);
      return;
    }
    const { cert, key, expiresMs } = read.pair;
    const isSame = cert === this.#pair?.cert && key === this.#pair.key;
    if (!isSame || !this.#isListening) {
      try {
        this.#listen(read.pair);
      } catch (error) {
        this.#report(`can't listen: ${String(error)}`);
        return;
      }
      log.info({ expires: new Date(expiresMs).toISOString() }, `${name}: new certificate`);
    }
    this.#problem = undefined;
  }

  #report(problem: string): void {
    if (problem !== this.#problem)
      this.#options.log.error(
        { problem },
        `${this.#options.name}: the new certificate can't be used`,
      );
    this.#problem = problem;
  }
}
