/** Compiles the stub (loader/) with a C compiler for the target. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Elf, type Machine, PT_LOAD } from "./elf.ts";
import { StaticElfError } from "./errors.ts";

const SOURCES = join(import.meta.dirname, "../loader");
const FLAGS = [
  "-O2",
  "-ffreestanding",
  "-fno-builtin",
  "-fno-pic",
  "-fno-stack-protector",
  "-fno-asynchronous-unwind-tables",
  "-nostdlib",
  "-static",
  "-no-pie",
  "-Wall",
  "-Wextra",
  "-Werror",
  "-Wl,--build-id=none",
];

/** The single segment of the stub, its address and its entry point. */
export interface Stub {
  readonly machine: Machine;
  readonly bytes: Uint8Array;
  readonly address: number;
  readonly entry: number;
}

/** The compilers tried for a machine, in order. */
export function compilersFor(machine: Machine): readonly string[] {
  const native = process.arch === "arm64" ? "aarch64" : "x86_64";
  const cross = `${machine}-linux-gnu-gcc`;
  return machine === native ? ["gcc", "cc", cross] : [cross];
}

/** Compiles the stub. Throws `no_compiler` or `compile_failed`. */
export function compileStub(
  machine: Machine,
  compilers: readonly string[] = compilersFor(machine),
): Stub {
  const dir = mkdtempSync(join(tmpdir(), "static-elf-"));
  try {
    const out = join(dir, "stub");
    for (const compiler of compilers) {
      const args = [...FLAGS, `-Wl,-T,${join(SOURCES, "loader.ld")}`, join(SOURCES, "loader.c")];
      const result = spawnSync(compiler, [...args, "-o", out], { encoding: "utf8" });
      if (isMissing(result.error)) continue;
      if (result.status !== 0) {
        const reason = firstLine(result.stderr ?? "") ?? String(result.error ?? result.signal);
        throw new StaticElfError("compile_failed", `${compiler} can't compile the stub: ${reason}`);
      }
      if (!existsSync(out))
        throw new StaticElfError("compile_failed", `${compiler} created no output file`);
      return readStub(machine, new Uint8Array(readFileSync(out)));
    }
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
  throw new StaticElfError(
    "no_compiler",
    `no C compiler for ${machine} (tried ${compilers.join(", ")})`,
  );
}

/** The first line of a compiler's output that mentions an error, or else its first line. */
function firstLine(output: string): string | undefined {
  const lines = output.split("\n").filter((line) => line.trim() !== "");
  return lines.find((line) => line.includes("error")) ?? lines[0];
}

function isMissing(error: NodeJS.ErrnoException | undefined): boolean {
  return error?.code === "ENOENT";
}

function readStub(machine: Machine, bytes: Uint8Array): Stub {
  const elf = new Elf("the stub", bytes);
  const [segment, ...others] = elf.of(PT_LOAD);
  if (
    elf.machine !== machine ||
    segment === undefined ||
    others.length > 0 ||
    segment.fileBytes !== segment.memoryBytes
  )
    throw new StaticElfError(
      "compile_failed",
      `the compiled stub is not a single ${machine} segment`,
    );
  return {
    machine,
    bytes: bytes.slice(segment.offset, segment.offset + segment.fileBytes),
    address: segment.address,
    entry: elf.entry,
  };
}
