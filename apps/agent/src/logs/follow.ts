/**
 * Goes on reading a log behind its end, across rotations, by looking every FOLLOW_MS: what is written to it appears, whatever
 * kind of file system it lies on. Used by `fleet-agent logs --follow`. (A11)
 */
import { fstatSync } from "node:fs";
import { closeLog, type LogFile, openLog, readFrom } from "./log-files.ts";

/** How often it is looked for more. */
export const FOLLOW_MS = 250;

/** Stands at a place in the log at `path` and gives what came behind it. */
export class Follower {
  readonly #path: string;
  /** Open, so that its inode is not used again. Undefined: there is no file yet. */
  #current: LogFile | undefined;
  #offset: number;

  /** `current`, its to close, was read up to `offset`. */
  constructor(path: string, current: LogFile | undefined, offset: number) {
    this.#path = path;
    this.#current = current;
    this.#offset = offset;
  }

  /** What was written since; a file that was cut is read from its beginning. */
  *read(): Generator<Uint8Array> {
    const files = openLog(this.#path);
    let next: readonly LogFile[] = files;
    const current = this.#current;
    if (current !== undefined) {
      yield* this.#rest(current);
      const at = files.findIndex(({ inode }) => inode === current.inode);
      // Rotated out of sight, or removed: what was written after it is new.
      const writtenNs = fstatSync(current.fd, { bigint: true }).mtimeNs;
      next = at >= 0 ? files.slice(at + 1) : files.filter((file) => file.writtenNs >= writtenNs);
    }
    yield* readFrom(next, { index: 0, offset: 0 });
    const last = next.at(-1);
    closeLog(files.filter((file) => file !== last));
    if (last === undefined) return;
    if (current !== undefined) closeLog([current]);
    this.#current = last;
    this.#offset = last.sizeBytes;
  }

  close(): void {
    if (this.#current !== undefined) closeLog([this.#current]);
    this.#current = undefined;
  }

  *#rest(current: LogFile): Generator<Uint8Array> {
    const sizeBytes = fstatSync(current.fd).size;
    if (sizeBytes < this.#offset) this.#offset = 0;
    yield* readFrom([{ ...current, sizeBytes }], { index: 0, offset: this.#offset });
    this.#offset = sizeBytes;
  }
}
