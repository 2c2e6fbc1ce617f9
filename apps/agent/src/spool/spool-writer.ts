/**
 * The disk as DiskSpool sees it: takes batches and books, or refuses; then it is left alone for a second, and tried again until
 * it takes them. Told once when it begins and once when it ends. (A16)
 *
 *   on → failing (something was refused);  failing → on (all that waits in memory was taken)
 */
import type { Clock, Log } from "@fleet/daemon";
import type { SpoolId } from "@fleet/protocol";
import type { Books } from "./spool-manifest.ts";
import type { SpoolDir } from "./spool-dir.ts";
import type { SpoolFiles } from "./spool-files.ts";
import type { SpoolReader } from "./spool-reader.ts";
import { newSpoolId } from "./spool.ts";

const FULL_CODES: ReadonlySet<string> = new Set(["ENOSPC", "EDQUOT"]);
const RETRY_MS = 1000;
/** How often the books are written while they change, and how soon what is written is made to survive a power loss. */
const BOOKS_MS = 1000;

type State =
  | { readonly at: "on" }
  | { readonly at: "failing"; readonly retryAtMs: number; readonly isFull: boolean };

/** What is written comes from here. */
export interface SpoolDiskOptions {
  readonly dir: SpoolDir;
  readonly spoolId: SpoolId;
  readonly nextSeq: () => number;
  readonly manifest: () => Omit<Books, "spoolId" | "reserved">;
  /** Writes the frames below `seq` that are in memory, as many as the disk takes; throws when that is not all. */
  readonly writeBelow: (seq: number) => void;
  readonly clock: Clock;
  readonly log: Log;
}

/** See the head of this file. */
export class SpoolWriter {
  readonly #options: SpoolDiskOptions;
  #state: State = { at: "on" };
  #spoolId: SpoolId;
  /** Below, numbers may be used: they are written down as used. Infinite while the id is not on the disk. */
  #limitSeq: number;
  #isChanged = false;
  #booksMs = 0;
  #syncedMs = 0;

  constructor(options: SpoolDiskOptions) {
    this.#options = options;
    this.#spoolId = options.spoolId;
    this.#limitSeq = options.nextSeq();
    this.reserve();
  }

  get spoolId(): SpoolId {
    return this.#spoolId;
  }

  get limitSeq(): number {
    return this.#limitSeq;
  }

  get files(): SpoolFiles {
    return this.#options.dir.files;
  }

  get reader(): SpoolReader {
    return this.#options.dir.reader;
  }

  get isOn(): boolean {
    return this.#state.at === "on";
  }

  /** It refuses because it is full: what is removed makes room. */
  get isFull(): boolean {
    return this.#state.at === "failing" && this.#state.isFull;
  }

  /** Whether there is something to do at the next tick. */
  get hasWork(): boolean {
    return !this.isOn || this.#isChanged || this.files.isUnsynced;
  }

  /** The books have changed. */
  changed(): void {
    this.#isChanged = true;
  }

  /** Writes the books now. */
  save(): void {
    this.#attempt(() => this.#saveBooks());
  }

  /** Goes on under an id the coordinator can't know. */
  renew(): void {
    this.#spoolId = newSpoolId();
    this.reserve();
  }

  /** Writes down that the next numbers are used, so that they may be, even if the power fails. */
  reserve(): void {
    this.#attempt(() => this.#reserve());
  }

  /** Writes all frames below `seq`; all there are, when the disk has refused before and may be tried again. */
  write(seq: number): void {
    if (this.isOn) this.#attempt(() => this.#options.writeBelow(seq));
    else if (this.#mayTry()) this.retry();
  }

  /** Tries again after it refused. */
  retry(): void {
    this.#attempt(() => {
      const { nextSeq, writeBelow, log } = this.#options;
      if (this.#limitSeq === Number.POSITIVE_INFINITY) this.#reserve();
      writeBelow(nextSeq());
      this.#state = { at: "on" };
      log.info({}, "the spool is on disk again");
    });
  }

  /** Writes and syncs what is due. */
  tick(nowMs: number): void {
    if (!this.#mayTry()) return;
    if (this.#isChanged && nowMs - this.#booksMs >= BOOKS_MS) this.save();
    if (!this.files.isUnsynced || nowMs - this.#syncedMs < BOOKS_MS) return;
    this.#syncedMs = nowMs;
    this.files.sync((error) => {
      if (error !== null) this.#failed(error);
    });
  }

  /** Removes the files that nothing is wanted of. */
  removeDone(): void {
    if (!this.files.hasDone) return;
    // Before its frames are gone, the books say where they went.
    this.save();
    this.files.removeDone();
  }

  /** Writes all that is left, and that no number beyond was used. */
  close(): void {
    const { dir, nextSeq, writeBelow } = this.#options;
    this.#attempt(() => {
      writeBelow(nextSeq());
      this.#writeBooks(nextSeq(), true);
    });
    dir.close();
  }

  #mayTry(): boolean {
    const state = this.#state;
    return state.at === "on" || this.#options.clock.monotonicMs() >= state.retryAtMs;
  }

  #reserve(): void {
    const { dir, nextSeq } = this.#options;
    const limitSeq = dir.limitAbove(nextSeq());
    try {
      this.#writeBooks(limitSeq, true);
      this.#limitSeq = limitSeq;
    } catch (error) {
      // Used now, they would be used again by the next run: under an id that is not on the disk there is no mistaking them.
      if (nextSeq() >= this.#limitSeq) {
        this.#spoolId = newSpoolId();
        this.#limitSeq = Number.POSITIVE_INFINITY;
      }
      throw error;
    }
  }

  #saveBooks(): void {
    if (this.#limitSeq === Number.POSITIVE_INFINITY) this.#reserve();
    else this.#writeBooks(this.#limitSeq, false);
  }

  #writeBooks(reserved: number, isSynced: boolean): void {
    const { dir, manifest, clock } = this.#options;
    dir.writeBooks({ ...manifest(), spoolId: this.#spoolId, reserved }, isSynced);
    this.#isChanged = false;
    this.#booksMs = clock.monotonicMs();
  }

  #attempt(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(err: unknown): void {
    const { clock, log } = this.#options;
    const wasOn = this.isOn;
    this.#state = {
      at: "failing",
      retryAtMs: clock.monotonicMs() + RETRY_MS,
      isFull: FULL_CODES.has((err as NodeJS.ErrnoException).code ?? ""),
    };
    if (wasOn)
      log.error({ err }, "the spool can't be written to disk: new frames are in memory only");
  }
}
