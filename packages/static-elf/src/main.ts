#!/usr/bin/env bun
/** The command `static-elf INPUT -o OUTPUT`, for any output of `bun build --compile`. */
import { chmodSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { StaticElfError } from "./errors.ts";
import { linkStatic } from "./link.ts";

const EXIT_USAGE = 64;
const EXIT_REFUSED = 1;
const KIB = 1024;

const HELP = `usage: static-elf INPUT -o OUTPUT [options]

Converts a glibc executable made by \`bun build --compile\` to one that needs no
interpreter and no libraries, so that it runs in any Linux root with /proc.

  -o, --output FILE    file to write; may be INPUT
  --library-dir DIR    directory to search for ld.so and the libraries (repeatable)
  --compiler CC        C compiler for the stub (repeatable, tried in order)
  -q, --quiet          print nothing
  -h, --help           print this text
`;

class UsageError extends Error {}

function run(): void {
  const { values, positionals } = parseFlags();
  if (values.help === true) {
    process.stdout.write(HELP);
    return;
  }
  const [input, ...rest] = positionals;
  const { output } = values;
  if (input === undefined || output === undefined || rest.length > 0)
    throw new UsageError("expected one INPUT and -o OUTPUT");
  const { bytes, parts } = linkStatic(input, read(input), {
    ...(values["library-dir"] === undefined ? {} : { libraryDirs: values["library-dir"] }),
    ...(values.compiler === undefined ? {} : { compilers: values.compiler }),
  });
  write(output, bytes);
  if (values.quiet === true) return;
  for (const part of parts) process.stdout.write(`+ ${part.name}  ${kib(part.bytes)}\n`);
  process.stdout.write(`${output}  ${kib(bytes.length)}\n`);
}

function parseFlags() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        output: { type: "string", short: "o" },
        "library-dir": { type: "string", multiple: true },
        compiler: { type: "string", multiple: true },
        quiet: { type: "boolean", short: "q" },
        help: { type: "boolean", short: "h" },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function read(path: string): Uint8Array {
  try {
    return new Uint8Array(readFileSync(path));
  } catch (cause) {
    throw new StaticElfError("unreadable", `can't read ${path}: ${(cause as Error).message}`, {
      cause,
    });
  }
}

/** Writes a temporary file and renames it, so that OUTPUT may be a running program and is never incomplete. */
function write(path: string, bytes: Uint8Array): void {
  const staged = `${path}.${process.pid}`;
  try {
    writeFileSync(staged, bytes);
    chmodSync(staged, 0o755);
    renameSync(staged, path);
  } catch (cause) {
    throw new StaticElfError("unwritable", `can't write ${path}: ${(cause as Error).message}`, {
      cause,
    });
  } finally {
    rmSync(staged, { force: true });
  }
}

function kib(bytes: number): string {
  return `${(bytes / KIB).toFixed(bytes < 100 * KIB ? 1 : 0)} KiB`;
}

try {
  run();
} catch (error) {
  if (error instanceof UsageError) {
    process.stderr.write(`static-elf: ${error.message} (see --help)\n`);
    process.exit(EXIT_USAGE);
  }
  if (!(error instanceof StaticElfError)) throw error;
  process.stderr.write(`static-elf: ${error.message}\n`);
  process.exit(EXIT_REFUSED);
}
