/**
 * The agents offered for download: `DIR/ARCH/fleet-agent`. Size, sha256 and version always describe the file that was opened,
 * so renaming another one into its place does not affect downloads in progress. (H8)
 */
import { constants, type Stats } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import { join } from "node:path";
import { AGENT_ARCHES, type AgentArch } from "@fleet/protocol";

const PIECE_BYTES = 1024 ** 2;
/** scripts/lib/build-binaries.ts writes it into every binary. */
const VERSION_MARK = Buffer.from("// fleet-version ");
const VERSION = /^[0-9A-Za-z.+-]{1,64}(?=\n)/;
/** Includes the line feed that ends it. */
const VERSION_BYTES_MAX = 65;

/** One file. `sha256` is hexadecimal; `version` is null if the file doesn't contain it. */
export interface AgentBinary {
  readonly arch: AgentArch;
  readonly bytes: number;
  readonly sha256: string;
  readonly version: string | null;
}

/** An open file. The caller closes it. */
export interface OpenAgentBinary extends AgentBinary {
  readonly fd: number;
  close(): void;
}

/** Why there is no file. `no_file`: none for this architecture. `changing`: it is being written. */
export type NoAgentBinary = "not_configured" | "no_directory" | "no_file" | "changing";

interface Facts {
  readonly sha256: string;
  readonly version: string | null;
}

/** Opens files on request. Caches the latest digest per architecture. */
export class AgentBinaries {
  readonly #dir: string | undefined;
  readonly #latest = new Map<AgentArch, { readonly key: string; readonly facts: Promise<Facts> }>();

  /** Without `dir` nothing is offered. */
  constructor(dir: string | undefined) {
    this.#dir = dir;
  }

  /** Opens the file for `arch`. Callers wait while a new file is read once to compute its digest. */
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

  /** All files, in the order of AGENT_ARCHES. */
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

  /** Undefined if the file was written to while it was read, since its digest then matches no version. */
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
    // Opening a FIFO must not wait for a writer.
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

/** Differs whenever the content may differ: ctime can't be set back. */
function keyOf({ dev, ino, size, mtimeMs, ctimeMs }: Stats): string {
  return [dev, ino, size, mtimeMs, ctimeMs].join(":");
}

/** Reads in pieces of PIECE_BYTES, so that memory is bounded and the coordinator is not blocked. */
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
    // The mark may span two pieces.
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
