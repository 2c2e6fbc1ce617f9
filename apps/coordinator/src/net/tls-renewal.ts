/**
 * Keeps a listener's certificate that of its files: a pair that was replaced is taken up within a minute; one that can't be
 * used is logged once, and the one before stays. Used by the frame port and the HTTP server. (T1, H5)
 */
import { type Clock, every, type Log, type Timer } from "@fleet/daemon";
import { readTlsPair, type TlsFiles, type TlsPair } from "./tls-files.ts";

const RENEW_MS = 60_000;

/** What is renewed. A socket keeps what it was accepted with, so a new certificate takes a new listener. */
export interface TlsRenewalOptions {
  readonly files: TlsFiles;
  readonly clock: Clock;
  readonly log: Log;
  /** The listener's name in the log, and its place in the config. */
  readonly name: string;
  readonly place: string;
  /** Listens with this pair, instead of with the one before. Open connections stay. May throw; then it listens no more. */
  readonly listen: (pair: TlsPair) => void;
}

/** See the head of this file. */
export class TlsRenewal {
  readonly #options: TlsRenewalOptions;
  #pair: TlsPair | undefined;
  #isListening = false;
  /** What was last said of a pair that can't be used. */
  #complaint: string | undefined;
  #timer: Timer | undefined;

  constructor(options: TlsRenewalOptions) {
    this.#options = options;
  }

  /** Listens for the first time. Throws what `listen` throws, or the problem: the files were checked with the config. */
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
      this.#complain(`${place}.${read.problem}`);
      return;
    }
    const { cert, key, expiresMs } = read.pair;
    const isSame = cert === this.#pair?.cert && key === this.#pair.key;
    if (!isSame || !this.#isListening) {
      try {
        this.#listen(read.pair);
      } catch (error) {
        this.#complain(`can't listen: ${String(error)}`);
        return;
      }
      log.info({ expires: new Date(expiresMs).toISOString() }, `${name}: new certificate`);
    }
    this.#complaint = undefined;
  }

  #complain(problem: string): void {
    if (problem !== this.#complaint)
      this.#options.log.error(
        { problem },
        `${this.#options.name}: the new certificate can't be used`,
      );
    this.#complaint = problem;
  }
}
