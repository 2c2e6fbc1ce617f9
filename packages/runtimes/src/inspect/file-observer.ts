/**
 * Detection's view of the file system and of the image's variables. It records every observation, so that a later start can
 * compare them with `lstat` alone and reuse the earlier result. Its methods never throw. (A4)
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

/** What is at a path. For a symbolic link, `stat` describes the file it resolves to. */
export type PathEntry =
  | { readonly at: "absent" }
  | { readonly at: "unknown"; readonly code: string }
  | { readonly at: "dangling" }
  | { readonly at: "present"; readonly stat: BigIntStats };

/** Paths recorded in one detection. With more, the result is not cached. */
export const PATHS_MAX = 4096;

/** Bytes read from a text file. */
const TEXT_BYTES_MAX = 64 * 1024;

/** Entries listed of one directory, in alphabetical order. */
const ENTRIES_MAX = 8192;

/**
 * A file changed less than this before the detection may change again without a visible change of its timestamps, which
 * advance in kernel ticks of at most 10 ms.
 */
const TICK_MS = 20n;

/** Everything a detection observed. */
export interface Observations {
  /** Path → a string that changes whenever the entry at that path does. */
  readonly marks: Readonly<Record<string, string>>;
  /** Variable → its value, null when unset. */
  readonly variables: Readonly<Record<string, string | null>>;
  /** Paths of the agent's own executable. */
  readonly selves: readonly string[];
}

/** Reads paths and variables for one detection and records what it read. */
export class FileObserver {
  readonly #env: Environment;
  readonly #freshAfterMs: bigint;
  readonly #marks = new Map<string, string>();
  readonly #variables = new Map<string, string | null>();
  readonly #selves = new Set<string>();
  readonly #names = new Map<string, ReadonlySet<string>>();
  #isRepeatable = true;

  /** `env` is the image's environment; `nowMs` is Unix time. */
  constructor(env: Environment, nowMs: number) {
    this.#env = env;
    this.#freshAfterMs = BigInt(Math.floor(nowMs)) - TICK_MS;
  }

  /** False when a later detection of the same files could see something else, so that the result must not be cached. */
  get isRepeatable(): boolean {
    return this.#isRepeatable;
  }

  get observations(): Observations {
    return {
      marks: Object.fromEntries(this.#marks),
      variables: Object.fromEntries(this.#variables),
      selves: [...this.#selves],
    };
  }

  /** Reports that a transient failure (a timeout, a lack of memory) influenced the result. */
  markUnrepeatable(): void {
    this.#isRepeatable = false;
  }

  /** Records that `path` is the agent's own executable. To another agent it would be an interpreter. */
  recordSelf(path: string): void {
    this.#selves.add(path);
  }

  /** A variable of the image; undefined when it is unset or blank. */
  variable(name: string): string | undefined {
    const value = this.#env[name];
    this.#variables.set(name, value ?? null);
    return value === undefined || value.trim() === "" ? undefined : value;
  }

  /** What is at `path`. With `isDirObserved`, absence is not recorded: creating the file later changes the observed directory. */
  observe(path: string, isDirObserved = false): PathEntry {
    const { entry, mark, changedMs } = observePath(path);
    if (entry.at === "absent" && isDirObserved) return entry;
    if (changedMs > this.#freshAfterMs) this.#isRepeatable = false;
    if (this.#marks.has(path)) return entry;
    if (this.#marks.size < PATHS_MAX) this.#marks.set(path, mark);
    else this.#isRepeatable = false;
    return entry;
  }

  isDirectory(path: string): boolean {
    const entry = this.observe(path);
    return entry.at === "present" && entry.stat.isDirectory();
  }

  /** The names in a directory, sorted, at most ENTRIES_MAX; empty when it can't be read. */
  list(dir: string): string[] {
    return [...(this.#namesIn(dir) ?? [])].toSorted().slice(0, ENTRIES_MAX);
  }

  /** Whether a directory contains a name; also true when the directory can't be listed. Cheaper than observing each path. */
  mayContain(dir: string, name: string): boolean {
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

  /** The first TEXT_BYTES_MAX bytes of a regular file as text; undefined when it can't be read. */
  readText(path: string): string | undefined {
    const entry = this.observe(path);
    return entry.at === "present" && entry.stat.isFile() ? readSmallText(path) : undefined;
  }
}

/** Whether every observation would be the same now. */
export function isUnchanged(
  { marks, variables, selves }: Observations,
  env: Environment,
  isSelf: (path: string) => boolean,
): boolean {
  for (const [name, value] of Object.entries(variables))
    if ((env[name] ?? null) !== value) return false;
  for (const [path, mark] of Object.entries(marks))
    if (observePath(path).mark !== mark) return false;
  return selves.every(isSelf);
}

/** The first TEXT_BYTES_MAX bytes of a file; undefined when it can't be read. Ignores the size, which is 0 in /proc and /sys. */
export function readSmallText(path: string): string | undefined {
  try {
    // Opening must not block if the file has been replaced by a FIFO since it was observed.
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

/** The system's error code (`ENOENT`), or `unknown error`. */
export function errorCode(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string"
    ? error.code
    : "unknown error";
}

interface Observation {
  readonly entry: PathEntry;
  readonly mark: string;
  /** The later ctime of the link and its target. Unlike mtime, no program can set it back. */
  readonly changedMs: bigint;
}

function observePath(path: string): Observation {
  try {
    const link = lstatSync(path, { bigint: true, throwIfNoEntry: false });
    if (link === undefined) return ABSENT;
    if (!link.isSymbolicLink())
      return { entry: { at: "present", stat: link }, mark: markOf(link), changedMs: link.ctimeMs };
    const target = statSync(path, { bigint: true, throwIfNoEntry: false });
    if (target === undefined)
      return { entry: { at: "dangling" }, mark: `${markOf(link)}>-`, changedMs: link.ctimeMs };
    return {
      entry: { at: "present", stat: target },
      mark: `${markOf(link)}>${markOf(target)}`,
      changedMs: link.ctimeMs > target.ctimeMs ? link.ctimeMs : target.ctimeMs,
    };
  } catch (error) {
    const code = errorCode(error);
    if (code === "ENOENT" || code === "ENOTDIR") return ABSENT;
    return { entry: { at: "unknown", code }, mark: code, changedMs: 0n };
  }
}

const ABSENT: Observation = { entry: { at: "absent" }, mark: "-", changedMs: 0n };

/** Leaves out the device number: each container has its own root file system with the same files. */
function markOf({ ino, size, mtimeNs, ctimeNs, mode, uid, gid }: BigIntStats): string {
  return [ino, size, mtimeNs, ctimeNs, mode, uid, gid].map((part) => part.toString(36)).join(".");
}
