import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Elf, PT_INTERP, PT_LOAD } from "./elf.ts";
import { StaticElfError } from "./errors.ts";
import { glibcVersion } from "./libc-version.ts";
import { findLibrary, libraryDirs } from "./libraries.ts";
import { linkStatic, type LinkOptions } from "./link.ts";
import { sealLdso } from "./seal.ts";
import { compileStub, type Stub } from "./stub.ts";
import { makeElf } from "./small-elf.ts";

const dir = mkdtempSync(join(tmpdir(), "static-elf-link-"));
const dirs = libraryDirs("x86_64");
let stub: Stub;
beforeAll(() => {
  // Linking treats both architectures alike; the stub is compiled for the one whose compiler is always available.
  stub = compileStub("x86_64");
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function link(input: Uint8Array, options: LinkOptions = {}) {
  return linkStatic("app", input, { stub, libraryDirs: dirs, ...options });
}

/** Returns the StaticElfError of `work`; fails if there is none, or another error. */
function linkError(work: () => unknown): { readonly code: string; readonly message: string } {
  try {
    work();
  } catch (error) {
    if (!(error instanceof StaticElfError)) throw error;
    expect(error.message).not.toContain("\n");
    return error;
  }
  throw new Error("no StaticElfError was thrown");
}

function patched(change: (view: DataView, bytes: Uint8Array) => void): Uint8Array {
  const bytes = makeElf();
  change(new DataView(bytes.buffer), bytes);
  return bytes;
}

describe("a file is rejected when", () => {
  const INTERP_ROW = 64 + 56;
  const LOAD_ROW = 64 + 2 * 56;
  const DYNAMIC_ROW = 64 + 3 * 56;
  const cases: readonly [string, string, Uint8Array][] = [
    ["it is empty", "not_elf", new Uint8Array()],
    ["it is a script", "not_elf", new TextEncoder().encode("#!/bin/sh\n".repeat(20))],
    ["it is 32-bit", "not_64_bit", patched((_, b) => b.set([1], 4))],
    ["it is big-endian", "big_endian", patched((_, b) => b.set([2], 5))],
    ["its processor is unknown", "unsupported_machine", patched((v) => v.setUint16(18, 243, true))],
    ["it is position-independent", "position_independent", makeElf({ type: 3 })],
    ["it is static", "no_interpreter", makeElf({ interpreter: undefined })],
    ["it is linked with musl", "not_glibc", makeElf({ interpreter: "/lib/ld-musl-x86_64.so.1" })],
    [
      "its interpreter is another processor's ld.so",
      "not_glibc",
      makeElf({ interpreter: "/lib/ld-linux-aarch64.so.1" }),
    ],
    ["it needs a missing library", "library_missing", makeElf({ needed: ["libnothere.so.9"] })],
    ["its headers have another size", "malformed", patched((v) => v.setUint16(54, 32, true))],
    ["it has two interpreters", "malformed", patched((v) => v.setUint32(64, PT_INTERP, true))],
    [
      "its interpreter is binary",
      "malformed",
      patched((v) => v.setBigUint64(INTERP_ROW + 8, 4n, true)),
    ],
    [
      "a number is too large",
      "malformed",
      patched((v) => v.setBigUint64(LOAD_ROW + 16, 2n ** 63n, true)),
    ],
    [
      "a segment ends beyond the file",
      "truncated",
      patched((v) => v.setBigUint64(LOAD_ROW + 32, 2n ** 52n, true)),
    ],
    [
      "its dynamic section is not terminated",
      "malformed",
      patched((v) => v.setBigUint64(DYNAMIC_ROW + 32, 24n, true)),
    ],
    [
      "its dynamic section is mapped from another offset",
      "malformed",
      patched((v) => v.setBigUint64(DYNAMIC_ROW + 8, 64n, true)),
    ],
    [
      "its dynamic section is not mapped",
      "malformed",
      patched((v) => v.setBigUint64(DYNAMIC_ROW + 16, 64n, true)),
    ],
    ["there is no room below it", "layout", makeElf({ address: 0x110000 })],
    ["it has too many program headers", "layout", makeElf({ padding: 28 })],
    [
      "it has too many dynamic entries",
      "layout",
      makeElf({ extra: Array.from({ length: 90 }, () => [21, 0] as const) }),
    ],
    ["it has a DT_PREINIT_ARRAY", "layout", makeElf({ extra: [[32, 0]] })],
  ];

  test.each(cases)("%s", (_what, code, input) => {
    expect(linkError(() => link(input)).code).toBe(code);
  });

  test("it is already linked", () => {
    expect(linkError(() => link(link(makeElf()).bytes)).code).toBe("already_linked");
  });

  test("but not only because it contains our magic", () => {
    const bytes = Buffer.concat([makeElf(), Buffer.alloc(70_000), Buffer.from("fleet-static-elf")]);
    expect(linkError(() => link(link(bytes).bytes)).code).toBe("already_linked");
    const noInterp = Buffer.concat([makeElf({ interpreter: undefined }), bytes.subarray(-32)]);
    expect(linkError(() => link(noInterp)).code).toBe("no_interpreter");
  });

  test("it is truncated anywhere", () => {
    const whole = makeElf();
    for (let bytes = 0; bytes < whole.length; bytes++)
      expect(["not_elf", "truncated"]).toContain(linkError(() => link(whole.slice(0, bytes))).code);
  });

  test("arbitrary bytes are wrong, always with a StaticElfError", () => {
    const whole = makeElf({ needed: ["libc.so.6", "libm.so.6"] });
    fc.assert(
      fc.property(
        fc.array(
          fc.tuple(
            fc.nat(whole.length - 1),
            fc.oneof(fc.constantFrom(0, 1, 0x7f, 0x80, 0xff), fc.nat(255)),
          ),
          { minLength: 1, maxLength: 12 },
        ),
        (changes) => {
          const bytes = whole.slice();
          for (const [at, value] of changes) bytes[at] = value;
          try {
            new Elf("fuzzed", bytes).dynamic();
            link(bytes);
          } catch (error) {
            if (!(error instanceof StaticElfError)) throw error;
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe("libraries", () => {
  test("an unreadable one is named", () => {
    const bad = join(dir, "unreadable");
    mkdirSync(join(bad, "libc.so.6"), { recursive: true });
    const { code, message } = linkError(() => link(makeElf(), { libraryDirs: [bad] }));
    expect(code).toBe("library_unreadable");
    expect(message).toContain(join(bad, "libc.so.6"));
  });

  test("one of another processor is skipped, and named when there is no other", () => {
    const foreign = join(dir, "foreign");
    mkdirSync(foreign);
    for (const name of ["libc.so.6", "libgcc_s.so.1"])
      writeFileSync(join(foreign, name), makeElf({ machine: "aarch64", type: 3 }));
    writeFileSync(join(foreign, "libm.so.6"), "/* GNU ld script */");
    expect(link(makeElf(), { libraryDirs: [foreign, ...dirs] }).parts.length).toBe(4);
    const { code, message } = linkError(() => link(makeElf(), { libraryDirs: [foreign] }));
    expect(code).toBe("library_machine");
    expect(message).toContain(join(foreign, "libc.so.6"));
    expect(
      linkError(() => link(makeElf({ needed: ["libm.so.6"] }), { libraryDirs: [foreign] })).code,
    ).toBe("library_machine");
  });

  test("a truncated one is rejected", () => {
    const broken = join(dir, "broken");
    mkdirSync(broken);
    writeFileSync(join(broken, "libc.so.6"), makeElf({ type: 3 }).slice(0, 200));
    expect(linkError(() => link(makeElf(), { libraryDirs: [broken, ...dirs] })).code).toBe(
      "truncated",
    );
  });

  test("an ld.so without the paths to overwrite is rejected", () => {
    const strange = { name: "ld-linux-x86-64.so.2", path: "/strange", bytes: makeElf({ type: 3 }) };
    expect(linkError(() => sealLdso(strange)).code).toBe("library_unexpected");
  });

  test("a libc without a version is rejected", () => {
    const silent = join(dir, "silent");
    mkdirSync(silent);
    writeFileSync(join(silent, "libc.so.6"), makeElf({ type: 3 }));
    expect(linkError(() => glibcVersion("x86_64", [silent])).code).toBe("library_unexpected");
    expect(glibcVersion("x86_64")).toMatch(/GLIBC 2\.\d+/);
  });

  test("more than LIBRARIES_MAX are rejected", () => {
    const many = join(dir, "many");
    mkdirSync(many);
    const needed = Array.from({ length: 9 }, (_, i) => `lib${i}.so`);
    for (const name of needed) writeFileSync(join(many, name), makeElf({ type: 3, needed: [] }));
    const options = { libraryDirs: [...dirs, many] };
    expect(linkError(() => link(makeElf({ needed }), options)).code).toBe("layout");
    expect(link(makeElf({ needed: needed.slice(0, 6) }), options).parts.length).toBe(2 + 8);
  });
});

describe("the compiler", () => {
  test("is reported in one line when missing", () => {
    const { code, message } = linkError(() => compileStub("x86_64", ["no-such-cc", "nor-this"]));
    expect(code).toBe("no_compiler");
    expect(message).toBe("no C compiler for x86_64 (tried no-such-cc, nor-this)");
  });

  test("is quoted in one line when it fails", () => {
    const cc = join(dir, "cc");
    writeFileSync(
      cc,
      "#!/bin/sh\necho warning >&2\necho 'a.c:1: error: bad' >&2\necho more >&2\nexit 1\n",
    );
    chmodSync(cc, 0o755);
    const { code, message } = linkError(() => compileStub("x86_64", [cc]));
    expect(code).toBe("compile_failed");
    expect(message).toEndWith("a.c:1: error: bad");
    chmodSync(cc, 0o644);
    expect(linkError(() => compileStub("x86_64", [cc])).code).toBe("compile_failed");
  });

  test("is rejected when it creates no output", () => {
    const cc = join(dir, "cc-true");
    cpSync("/bin/true", cc);
    expect(linkError(() => compileStub("x86_64", [cc])).code).toBe("compile_failed");
  });

  test("must be for the program's processor", () => {
    const other = { ...stub, machine: "aarch64" } as const;
    expect(linkError(() => link(makeElf(), { stub: other })).code).toBe("layout");
  });
});

describe("the linked file", () => {
  const input = makeElf({ needed: ["libc.so.6", "libm.so.6"] });

  test("is deterministic", () => {
    expect(Buffer.compare(link(input).bytes, link(input).bytes)).toBe(0);
    const fresh = { ...stub, ...compileStub("x86_64") };
    expect(Buffer.compare(link(input, { stub: fresh }).bytes, link(input).bytes)).toBe(0);
  });

  test("has no interpreter, starts in the stub, and loads segments in order of address", () => {
    const elf = new Elf("linked", link(input).bytes);
    expect(elf.of(PT_INTERP)).toEqual([]);
    expect(elf.entry).toBe(stub.entry);
    const loads = elf.of(PT_LOAD);
    expect(loads.map((s) => s.address)).toEqual(
      loads.map((s) => s.address).toSorted((a, b) => a - b),
    );
    expect(loads[0]).toMatchObject({
      address: stub.address,
      fileBytes: stub.bytes.length,
      flags: 5,
    });
    expect(loads[0]!.offset % 65_536).toBe(0);
  });

  test("differs from the program only in its entry point and one header", () => {
    const { bytes } = link(input);
    const changed = [...input.keys()].filter((at) => input[at] !== bytes[at]);
    expect(changed.length).toBeGreaterThan(0);
    for (const at of changed)
      expect((at >= 24 && at < 32) || (at >= 64 + 56 && at < 64 + 2 * 56)).toBe(true);
  });

  test("contains ld.so and each library once, at offsets for any page size, unchanged except for paths", () => {
    const { bytes, parts } = link(input);
    expect(parts.map((p) => p.name)).toEqual([
      "stub",
      "ld-linux-x86-64.so.2",
      "libc.so.6",
      "libm.so.6",
      "libgcc_s.so.1",
    ]);
    for (const { name, offset, bytes: size } of parts.slice(1)) {
      expect(offset % 65_536).toBe(0);
      const own = findLibrary(name, "x86_64", dirs).bytes;
      expect(own.length).toBe(size);
      const part = bytes.subarray(offset, offset + size);
      const different = own.reduce((n, byte, i) => n + (byte === part[i] ? 0 : 1), 0);
      expect(different).toBeLessThan(name.startsWith("l") && /^(ld-|libc\.)/.test(name) ? 80 : 1);
    }
    expect(bytes.length).toBe(parts.at(-1)!.offset + parts.at(-1)!.bytes);
  });

  test("contains no path that must be overwritten", () => {
    const text = Buffer.from(link(input).bytes).toString("latin1");
    const open = [
      "/etc/ld.so.preload\0",
      "/etc/ld.so.cache\0",
      "\0/usr/lib/x86_64-linux-gnu/gconv\0",
      "\0/usr/lib/x86_64-linux-gnu/gconv/gconv-modules.cache\0",
      "\0/usr/lib/x86_64-linux-gnu/\0",
      "\0/lib/x86_64-linux-gnu/\0",
    ].filter((path) => text.includes(path));
    expect(open).toEqual([]);
  });
});
