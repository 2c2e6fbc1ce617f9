/**
 * The agents that are offered for download: `DIR/ARCH/fleet-agent`. A file is opened once, and what is said of it (size,
 * sha256, version) is said of that open file: one that is renamed into its place meanwhile changes nothing for who already
 * downloads. (H8)
 */
import { constants, type Stats } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import { join } from "node:path";

/** Processors, by the names the kernel gives them. */
export const AGENT_ARCHES = ["x86_64", "aarch64"] as const;
export type AgentArch = (typeof AGENT_ARCHES)[number];

const PIECE_BYTES = 1024 ** 2;
/** Written into every binary by scripts/lib/build-binaries.ts. */
const VERSION_MARK = Buffer.from("// fleet-version ");
const VERSION = /^[0-9A-Za-z.+-]{1,64}(?=\n)/;
/** With the line feed behind it. */
const VERSION_BYTES_MAX = 65;

/** What a file is. `sha256` is hex; `version` is null when the file does not tell. */
export interface AgentBinary {
  readonly arch: AgentArch;
  readonly bytes: number;
  readonly sha256: string;
  readonly version: string | null;
}

/** An open file and what it is; whoever asked for it closes it. */
export interface OpenAgentBinary extends AgentBinary {
  readonly fd: number;
  close(): void;
}

/** Why there is no file: nothing configured, the directory is gone, not this processor's, or it is being written just now. */
export type NoAgentBinary = "not_configured" | "no_directory" | "no_file" | "changing";

interface Facts {
  readonly sha256: string;
  readonly version: string | null;
}

/** Looks at the files anew each time; remembers the latest digest for each processor. */
export class AgentBinaries {
  readonly #dir: string | undefined;
  readonly #latest = new Map<AgentArch, { readonly key: string; readonly facts: Promise<Facts> }>();

  /** `dir` undefined: nothing is offered. */
  constructor(dir: string | undefined) {
    this.#dir = dir;
  }

  /** Opens the file for `arch`. The first to ask for a new file waits until it has been read; so do those who come meanwhile. */
  async open(arch: AgentArch): Promise<OpenAgentBinary | NoAgentBinary> {
    if (this.#dir === undefined) return "not_configured";
    const file = await openFile(join(this.#dir, arch, "fleet-agent"));
    if (file === undefined) return (await isDirectory(this.#dir)) ? "no_file" : "no_directory";
    try {
      const stats = await file.stat();
      const facts = stats.isFile() ? await this.#factsOf(arch, file, stats) : undefined;
      if (facts !== undefined) {
        const close = (): void => void file.close();
        return { arch, bytes: stats.size, ...facts, fd: file.fd, close };
      }
      await file.close();
      return stats.isFile() ? "changing" : "no_file";
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** What there is for each processor; empty when there is nothing. */
  async list(): Promise<readonly AgentBinary[] | NoAgentBinary> {
    const found: AgentBinary[] = [];
    for (const arch of AGENT_ARCHES) {
      const opened = await this.open(arch);
      if (opened === "not_configured" || opened === "no_directory") return opened;
      if (typeof opened === "string") continue;
      const { bytes, sha256, version } = opened;
      found.push({ arch, bytes, sha256, version });
      opened.close();
    }
    return found;
  }

  /** Undefined when the file was written to while it was read: its digest is that of no version. */
  async #factsOf(arch: AgentArch, file: FileHandle, stats: Stats): Promise<Facts | undefined> {
    const key = keyOf(stats);
    let latest = this.#latest.get(arch);
    if (latest?.key !== key) {
      latest = { key, facts: readFacts(file) };
      this.#latest.set(arch, latest);
    }
    try {
      const facts = await latest.facts;
      if (keyOf(await file.stat()) === key) return facts;
    } catch (error) {
      this.#forget(arch, key);
      throw error;
    }
    this.#forget(arch, key);
    return undefined;
  }

  #forget(arch: AgentArch, key: string): void {
    if (this.#latest.get(arch)?.key === key) this.#latest.delete(arch);
  }
}

async function openFile(path: string): Promise<FileHandle | undefined> {
  try {
    // Without waiting for somebody to write, should it be a pipe.
    return await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw error;
  }
}

async function isDirectory(path: string): Promise<boolean> {
  return stat(path).then(
    (stats) => stats.isDirectory(),
    () => false,
  );
}

/** Changes whenever the content may have: ctime can't be set back. */
function keyOf({ dev, ino, size, mtimeMs, ctimeMs }: Stats): string {
  return [dev, ino, size, mtimeMs, ctimeMs].join(":");
}

/** In pieces: the rest of the coordinator goes on between them, and no more than one is in memory. */
async function readFacts(file: FileHandle): Promise<Facts> {
  const hasher = new Bun.CryptoHasher("sha256");
  const overlap = VERSION_MARK.length + VERSION_BYTES_MAX;
  const buffer = Buffer.alloc(overlap + PIECE_BYTES);
  let version: string | undefined;
  let kept = 0;
  for (let at = 0; ;) {
    const { bytesRead } = await file.read(buffer, kept, PIECE_BYTES, at);
    if (bytesRead === 0) return { sha256: hasher.digest("hex"), version: version ?? null };
    hasher.update(buffer.subarray(kept, kept + bytesRead));
    at += bytesRead;
    const end = kept + bytesRead;
    version ??= versionIn(buffer.subarray(0, end));
    // The mark may lie across two pieces.
    kept = Math.min(end, overlap);
    buffer.copy(buffer, 0, end - kept, end);
  }
}

function versionIn(piece: Buffer): string | undefined {
  const at = piece.indexOf(VERSION_MARK);
  if (at < 0) return undefined;
  const start = at + VERSION_MARK.length;
  return VERSION.exec(piece.toString("latin1", start, start + VERSION_BYTES_MAX))?.[0];
}
