/**
 * Follows a log beyond its end, across rotations. It polls every FOLLOW_MS, because that works on every file system. Used by
 * `fleet-agent logs --follow`. (A11)
 */
import { fstatSync } from "node:fs";
import { closeLog, type LogFile, openLog, readFrom } from "./log-files.ts";

/** The polling interval. */
export const FOLLOW_MS = 250;

/** A position in the log at `path`; `read` returns what was written behind it. */
export class Follower {
  readonly #path: string;
  /** Kept open, so that its inode is not reused. Undefined: there is no file yet. */
  #current: LogFile | undefined;
  #offset: number;

  /** `current` was read up to `offset`; the follower closes it. */
  constructor(path: string, current: LogFile | undefined, offset: number) {
    this.#path = path;
    this.#current = current;
    this.#offset = offset;
  }

  /** The bytes written since the last call. A truncated file is read from its start. */
  *read(): Generator<Uint8Array> {
    const files = openLog(this.#path);
    let next: readonly LogFile[] = files;
    const current = this.#current;
    if (current !== undefined) {
      yield* this.#rest(current);
      const at = files.findIndex(({ inode }) => inode === current.inode);
      // The file was rotated away or removed: files written later are new.
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
