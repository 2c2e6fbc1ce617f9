/**
 * How detection looks at files and variables: each look is remembered with what was seen, so that a later start can tell by
 * `lstat` alone whether all of it would be the same again. Nothing here throws. (A4)
 */
import {
  type BigIntStats,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readSync,
  statSync,
} from "node:fs";

export type Environment = Readonly<Record<string, string | undefined>>;

/** What lies at a path: the entry itself, and what it leads to when it is a link. */
export type Look =
  | { readonly at: "absent" }
  | { readonly at: "unknown"; readonly code: string }
  | { readonly at: "dangling" }
  | { readonly at: "there"; readonly stat: BigIntStats; readonly isLink: boolean };

/** Paths that are remembered; a look beyond them makes the whole of it not repeatable. */
export const LOOKS_MAX = 4096;

/** Bytes of a text file that are read. */
const TEXT_BYTES_MAX = 64 * 1024;

/** Entries of a directory beyond these, in order of name, are not looked at. */
const ENTRIES_MAX = 8192;

/**
 * A file changed less than this before it was looked at may change again without its times showing it: they are kept in
 * ticks of the kernel, 10 ms at the longest.
 */
const TICK_MS = 20n;

/** All that was looked at. */
export interface Seen {
  /** Path → what was seen there. */
  readonly marks: Readonly<Record<string, string>>;
  /** Variable → its value, null when unset. */
  readonly variables: Readonly<Record<string, string | null>>;
  /** Paths at which the agent itself lay. */
  readonly selves: readonly string[];
}

/** One detection's looks. */
export class FileObserver {
  readonly #env: Environment;
  readonly #freshAfterMs: bigint;
  readonly #marks = new Map<string, string>();
  readonly #variables = new Map<string, string | null>();
  readonly #selves = new Set<string>();
  readonly #names = new Map<string, ReadonlySet<string>>();
  #isRepeatable = true;

  /** `env` is the image's; `nowMs` Unix time. */
  constructor(env: Environment, nowMs: number) {
    this.#env = env;
    this.#freshAfterMs = BigInt(Math.floor(nowMs)) - TICK_MS;
  }

  /** False once something was seen that another look may not show again. */
  get isRepeatable(): boolean {
    return this.#isRepeatable;
  }

  get seen(): Seen {
    return {
      marks: Object.fromEntries(this.#marks),
      variables: Object.fromEntries(this.#variables),
      selves: [...this.#selves],
    };
  }

  /** A passing trouble (a timeout, a lack of memory) has shaped the result. */
  passing(): void {
    this.#isRepeatable = false;
  }

  /** The agent itself lies at `path`; another one would see a program there. */
  self(path: string): void {
    this.#selves.add(path);
  }

  /** A variable of the image; blank counts as unset. */
  variable(name: string): string | undefined {
    const value = this.#env[name];
    this.#variables.set(name, value ?? null);
    return value === undefined || value.trim() === "" ? undefined : value;
  }

  /** What lies at `path`. `inKnownDir`: its directory was looked at, so that a file absent now and there later shows in that. */
  at(path: string, inKnownDir = false): Look {
    const { look, mark, changedMs } = see(path);
    if (look.at === "absent" && inKnownDir) return look;
    if (changedMs > this.#freshAfterMs) this.#isRepeatable = false;
    if (this.#marks.has(path)) return look;
    if (this.#marks.size < LOOKS_MAX) this.#marks.set(path, mark);
    else this.#isRepeatable = false;
    return look;
  }

  isDirectory(path: string): boolean {
    const look = this.at(path);
    return look.at === "there" && look.stat.isDirectory();
  }

  /** The names in a directory, in order; none when it can't be read. */
  list(dir: string): string[] {
    return [...(this.#namesIn(dir) ?? [])].toSorted().slice(0, ENTRIES_MAX);
  }

  /** Whether there may be such a name in a directory; only where it can't be listed this may be wrong. Cheaper than asking for many. */
  mayHave(dir: string, name: string): boolean {
    return this.#namesIn(dir)?.has(name) ?? true;
  }

  #namesIn(dir: string): ReadonlySet<string> | undefined {
    const known = this.#names.get(dir);
    if (known !== undefined) return known;
    if (!this.isDirectory(dir)) return new Set();
    try {
      const names = new Set(readdirSync(dir));
      this.#names.set(dir, names);
      return names;
    } catch {
      return undefined;
    }
  }

  /** The text of a regular file, at most TEXT_BYTES_MAX of it; undefined when there is none to read. */
  text(path: string): string | undefined {
    const look = this.at(path);
    return look.at === "there" && look.stat.isFile() ? readSmallText(path) : undefined;
  }
}

/** Whether everything that was seen is still as it was. */
export function isUnchanged(
  { marks, variables, selves }: Seen,
  env: Environment,
  isSelf: (path: string) => boolean,
): boolean {
  for (const [name, value] of Object.entries(variables))
    if ((env[name] ?? null) !== value) return false;
  for (const [path, mark] of Object.entries(marks)) if (see(path).mark !== mark) return false;
  return selves.every(isSelf);
}

/** At most TEXT_BYTES_MAX of a file; undefined when it can't be read. Size is not asked for: files of /proc and /sys say 0. */
export function readSmallText(path: string): string | undefined {
  try {
    // Not blocking, should it have become a FIFO since it was looked at.
    const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      if (!fstatSync(file).isFile()) return undefined;
      const bytes = Buffer.allocUnsafe(TEXT_BYTES_MAX);
      return bytes.toString("utf8", 0, readSync(file, bytes, 0, TEXT_BYTES_MAX, 0));
    } finally {
      closeSync(file);
    }
  } catch {
    return undefined;
  }
}

/** The system's name for an error (`ENOENT`), or `unknown error`. */
export function errorCode(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string"
    ? error.code
    : "unknown error";
}

interface Sight {
  readonly look: Look;
  readonly mark: string;
  readonly changedMs: bigint;
}

function see(path: string): Sight {
  try {
    const link = lstatSync(path, { bigint: true, throwIfNoEntry: false });
    if (link === undefined) return ABSENT;
    if (!link.isSymbolicLink()) {
      const look = { at: "there", stat: link, isLink: false } as const;
      return { look, mark: markOf(link), changedMs: changeOf(link) };
    }
    const target = statSync(path, { bigint: true, throwIfNoEntry: false });
    if (target === undefined)
      return { look: { at: "dangling" }, mark: `${markOf(link)}>-`, changedMs: changeOf(link) };
    return {
      look: { at: "there", stat: target, isLink: true },
      mark: `${markOf(link)}>${markOf(target)}`,
      changedMs: changeOf(link) > changeOf(target) ? changeOf(link) : changeOf(target),
    };
  } catch (error) {
    const code = errorCode(error);
    if (code === "ENOENT" || code === "ENOTDIR") return ABSENT;
    return { look: { at: "unknown", code }, mark: code, changedMs: 0n };
  }
}

const ABSENT: Sight = { look: { at: "absent" }, mark: "-", changedMs: 0n };

/** Not the device: each container's root file system is a new one, with the same files. */
function markOf({ ino, size, mtimeNs, ctimeNs, mode, uid, gid }: BigIntStats): string {
  return [ino, size, mtimeNs, ctimeNs, mode, uid, gid].map((part) => part.toString(36)).join(".");
}

/** What a link or a file says of its last change can be neither forged nor set back. */
function changeOf({ ctimeMs }: BigIntStats): bigint {
  return ctimeMs;
}
