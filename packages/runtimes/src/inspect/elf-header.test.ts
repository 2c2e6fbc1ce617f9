import { expect, test } from "bun:test";
import fc from "fast-check";
import { libcOfLoader, parseElfHeader } from "./elf-header.ts";
import { makeElf } from "../test-image.ts";

const X86_64 = 62;
const LOADER = "/lib64/ld-linux-x86-64.so.2";

test("a program's machine and loader are parsed in both word sizes and byte orders", () => {
  for (const bits of [32, 64] as const) {
    for (const bigEndian of [false, true]) {
      const header = parseElfHeader(makeElf({ machine: X86_64, loader: LOADER, bits, bigEndian }));
      expect(header).toEqual({
        machine: X86_64,
        arch: "x86_64",
        loader: { offset: 256, length: LOADER.length + 1 },
      });
    }
  }
});

test("a program without an interpreter segment is static", () => {
  expect(parseElfHeader(makeElf({ machine: 183 }))).toEqual({
    machine: 183,
    arch: "aarch64",
    loader: null,
  });
});

test("an unknown machine is named by its number", () => {
  expect(parseElfHeader(makeElf({ machine: 9999 }))?.arch).toBe("machine-9999");
});

test("scripts, text and empty files have no ELF header", () => {
  const encoder = new TextEncoder();
  for (const text of ["", "#!/bin/sh\n", "hello", "\x7fELF"])
    expect(parseElfHeader(encoder.encode(text))).toBeUndefined();
});

test("parsing arbitrary headers terminates and returns nothing outside the bounds", () => {
  const whole = makeElf({ machine: X86_64, loader: LOADER });
  fc.assert(
    fc.property(
      fc.nat(whole.length),
      fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 12 }),
      (length, changes) => {
        const bytes = whole.slice();
        for (const [at, value] of changes) bytes[at] = value;
        const header = parseElfHeader(bytes.subarray(0, length));
        if (header?.loader) expect(header.loader.length).toBeLessThanOrEqual(4096);
      },
    ),
  );
});

test("a loader's name identifies its C library", () => {
  expect(libcOfLoader("/lib64/ld-linux-x86-64.so.2")).toBe("glibc");
  expect(libcOfLoader("/nix/store/abc-glibc-2.38/lib/ld-linux-aarch64.so.1")).toBe("glibc");
  expect(libcOfLoader("/lib/ld-musl-aarch64.so.1")).toBe("musl");
  expect(libcOfLoader("/system/bin/linker64")).toBe("bionic");
  expect(libcOfLoader("/opt/own-loader")).toBe("unknown");
  expect(libcOfLoader(null)).toBe("static");
});
