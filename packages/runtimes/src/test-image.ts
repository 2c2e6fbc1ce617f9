/** Test helpers of this package: a directory that stands for an image, with fake interpreters in it, and a manually fired clock. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { ProbeClock } from "./probe/run-probe.ts";

export interface TestImage extends Disposable {
  readonly dir: string;
  /** An executable shell script; returns its path. */
  script(name: string, body: string): string;
  /** A file with the given content; returns its path. */
  file(name: string, content: string | Uint8Array, mode?: number): string;
  link(name: string, target: string): string;
  directory(name: string): string;
}

export function makeTestImage(): TestImage {
  const dir = mkdtempSync(join(tmpdir(), "fleet-runtimes-"));
  const place = (name: string): string => {
    const path = join(dir, name);
    mkdirSync(dirname(path), { recursive: true });
    return path;
  };
  const file = (name: string, content: string | Uint8Array, mode = 0o644): string => {
    const path = place(name);
    writeFileSync(path, content);
    chmodSync(path, mode);
    return path;
  };
  return {
    dir,
    file,
    script: (name, body) => file(name, `#!/bin/sh\n${body}\n`, 0o755),
    link(name, target) {
      const path = place(name);
      symlinkSync(target, path);
      return path;
    },
    directory(name) {
      const path = place(name);
      mkdirSync(path);
      return path;
    },
    [Symbol.dispose]: () => rmSync(dir, { recursive: true, force: true }),
  };
}

/** Time stands still until `fire()` runs every pending timer. `delays` lists the delays of all timers set so far. */
export function makeTestClock(): ProbeClock & { fire(): void; readonly delays: readonly number[] } {
  const waiting = new Set<() => void>();
  const delays: number[] = [];
  return {
    delays,
    nowMs: () => 0,
    monotonicMs: () => 0,
    after(delayMs, fn) {
      delays.push(delayMs);
      waiting.add(fn);
      return { cancel: () => void waiting.delete(fn) };
    },
    fire() {
      for (const fn of waiting) fn();
      waiting.clear();
    },
  };
}

/** The first bytes of a program: an ELF header with a PT_INTERP segment if there is a `loader`. */
export function makeElf(options: {
  readonly machine: number;
  readonly loader?: string;
  readonly bits?: 32 | 64;
  readonly bigEndian?: boolean;
}): Uint8Array {
  const { machine, loader, bits = 64, bigEndian = false } = options;
  const little = !bigEndian;
  const is64 = bits === 64;
  const bytes = new Uint8Array(512);
  const view = new DataView(bytes.buffer);
  const word = (at: number, value: number): void => {
    if (is64) view.setBigUint64(at, BigInt(value), little);
    else view.setUint32(at, value, little);
  };
  bytes.set([0x7f, 0x45, 0x4c, 0x46, is64 ? 2 : 1, little ? 1 : 2, 1]);
  view.setUint16(16, 2, little);
  view.setUint16(18, machine, little);
  const tableAt = is64 ? 64 : 52;
  const entryBytes = is64 ? 56 : 32;
  word(is64 ? 32 : 28, tableAt);
  view.setUint16(is64 ? 54 : 42, entryBytes, little);
  view.setUint16(is64 ? 56 : 44, loader === undefined ? 1 : 2, little);
  view.setUint32(tableAt, 1, little);
  if (loader !== undefined) {
    const entry = tableAt + entryBytes;
    const name = new TextEncoder().encode(`${loader}\0`);
    view.setUint32(entry, 3, little);
    word(entry + (is64 ? 8 : 4), 256);
    word(entry + (is64 ? 32 : 16), name.length);
    bytes.set(name, 256);
  }
  return bytes;
}
