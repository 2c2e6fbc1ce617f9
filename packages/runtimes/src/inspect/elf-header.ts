/** Parses the part of an ELF header that names the machine and the loader, and thereby the C library. No I/O. (A4, A7) */
import type { Libc } from "../image-report.ts";

export interface ElfHeader {
  /** The machine as `uname -m` names it, or `machine-<number>`. */
  readonly arch: string;
  /** e_machine. */
  readonly machine: number;
  /** Where the file holds the path of the program's loader; null for a static program. */
  readonly loader: { readonly offset: number; readonly length: number } | null;
}

/** Bytes read from the start of a file. They hold the program headers of every file that linkers produce. */
export const ELF_HEAD_BYTES = 4096;

const PT_INTERP = 3;
const LOADER_PATH_BYTES_MAX = 4096;

const ARCH_OF_MACHINE: Readonly<Record<number, string>> = {
  3: "i686",
  8: "mips",
  20: "ppc",
  21: "ppc64",
  22: "s390x",
  40: "arm",
  62: "x86_64",
  183: "aarch64",
  243: "riscv64",
  258: "loongarch64",
};

/** `head` is the start of the file, up to ELF_HEAD_BYTES. Undefined unless it holds a complete ELF header. */
export function parseElfHeader(head: Uint8Array): ElfHeader | undefined {
  if (
    head.length < 52 ||
    head[0] !== 0x7f ||
    head[1] !== 0x45 ||
    head[2] !== 0x4c ||
    head[3] !== 0x46
  )
    return undefined;
  const is64 = head[4] === 2;
  const little = head[5] === 1;
  if ((!is64 && head[4] !== 1) || (!little && head[5] !== 2) || (is64 && head.length < 64))
    return undefined;
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const word = (at: number): number =>
    is64 ? Number(view.getBigUint64(at, little)) : view.getUint32(at, little);

  const machine = view.getUint16(18, little);
  const tableAt = word(is64 ? 32 : 28);
  const entryBytes = view.getUint16(is64 ? 54 : 42, little);
  const entries = view.getUint16(is64 ? 56 : 44, little);
  let loader: ElfHeader["loader"] = null;
  for (let index = 0; index < entries; index++) {
    const at = tableAt + index * entryBytes;
    if (at + (is64 ? 56 : 32) > head.length) break;
    if (view.getUint32(at, little) !== PT_INTERP) continue;
    const offset = word(at + (is64 ? 8 : 4));
    const length = word(at + (is64 ? 32 : 16));
    if (length > 1 && length <= LOADER_PATH_BYTES_MAX) loader = { offset, length };
    break;
  }
  return { arch: ARCH_OF_MACHINE[machine] ?? `machine-${machine}`, machine, loader };
}

/** The C library of a loader: `/lib64/ld-linux-x86-64.so.2` → `glibc`, `/lib/ld-musl-aarch64.so.1` → `musl`, null → `static`. */
export function libcOfLoader(loader: string | null): Libc {
  if (loader === null) return "static";
  const file = loader.slice(loader.lastIndexOf("/") + 1);
  if (file.startsWith("ld-musl-")) return "musl";
  if (/^ld-linux|^ld64\.so|^ld\.so|^ld-2\./.test(file)) return "glibc";
  return file.startsWith("linker") ? "bionic" : "unknown";
}
