/** A linked program behaves like the unlinked one, and shares its memory with the file. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { fsyncSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildProbe, compileProbe, type Probe, run, type Run } from "./build-probe.ts";
import { selfSigned } from "./certificate.ts";

const dir = mkdtempSync(join(tmpdir(), "static-elf-linked-"));
let probe: Probe;
beforeAll(async () => {
  probe = await buildProbe(dir);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Runs both forms, expects equal results, and returns that of the linked one. */
async function both(args: readonly string[], stdin = ""): Promise<Run> {
  const [plain, linked] = await Promise.all(
    [probe.plain, probe.linked].map((file) => run([file, ...args], { stdin })),
  );
  expect(linked).toEqual(plain);
  return linked!;
}

test("two builds of one source, in different directories, are byte-identical", async () => {
  const again = join(dir, "again");
  const file = await compileProbe(again);
  expect(Buffer.compare(await Bun.file(file).bytes(), await Bun.file(probe.plain).bytes())).toBe(0);
  const { linked } = await buildProbe(again);
  expect(Buffer.compare(await Bun.file(linked).bytes(), await Bun.file(probe.linked).bytes())).toBe(
    0,
  );
});

describe("as in the unlinked program", () => {
  test("exit code, stdin, stdout and stderr", async () => {
    expect(await both(["stdio", "7"], "grüß")).toMatchObject({
      code: 7,
      json: "GRÜSS",
      err: "to stderr\n",
    });
  });

  test("names are resolved, or fail to resolve", async () => {
    expect((await both(["resolve", "localhost"])).json).toEqual({
      libc: "127.0.0.1",
      cares: "127.0.0.1",
    });
    const { json } = await both(["resolve", "no-such-host.invalid"]);
    expect(JSON.stringify(json)).toMatch(/ENOTFOUND|EAI_AGAIN|ETIMEOUT|ECONNREFUSED/);
  });

  test("users are looked up", async () => {
    const { stdout } = Bun.spawnSync(["getent", "passwd", String(process.getuid?.())]);
    expect((await both(["home"])).json).toBe(stdout.toString().split(":")[5]);
  });

  test("workers run an embedded file and exit", async () => {
    expect((await both(["worker"])).json).toEqual([40, 42]);
  });

  test("SQLite works in memory and in a file", async () => {
    for (const [name, file] of Object.entries(probe)) {
      const { json } = await run([file, "sqlite", join(dir, `${name}.db`)]);
      expect(json).toEqual([{ n: 42 }, { n: 42 }]);
    }
  });

  test("bun:ffi finds the loaded libc", async () => {
    expect((await both(["ffi"])).json).toEqual({
      pid: true,
      pipe: 0,
      wrote: 3,
      read: 3,
      got: "abc",
      backtrace: true,
      utf32: true,
    });
  });

  test("a thread can end itself", async () => {
    expect((await both(["threadExit"])).json).toEqual([0, 0]);
  });

  test("timers fire in order", async () => {
    expect((await both(["timers"])).json).toEqual(["soon", "later"]);
  });

  test("cryptography works", async () => {
    expect((await both(["crypto"])).json).toMatchObject({ verified: true });
  });

  test("dynamically linked children run with the environment passed to them", async () => {
    const { json } = await both(["spawn", "/bin/sh", "-c", 'echo "$GIVEN"; exit 3']);
    expect(json).toEqual({ out: "yes\n", code: 3 });
  });

  test("children inherit only the standard descriptors", async () => {
    const list = 'for fd in /proc/$$/fd/*; do [ -e "$fd" ] && echo "${fd##*/}"; done';
    const { json } = await both(["spawn", "/bin/sh", "-c", list]);
    expect((json as { out: string }).out).toBe("0\n1\n2\n");
  });
});

test("the program knows its own file and its arguments", async () => {
  const { json } = await run([probe.linked, "identity", "a b", "", "--flag", "--version"]);
  const plain = (await run([probe.plain, "identity", "a b", "", "--flag", "--version"])).json;
  expect(json).toEqual({
    ...(plain as object),
    execPath: probe.linked,
    argv0: probe.linked,
    title: probe.linked,
  });
  expect(json).toMatchObject({ args: ["a b", "", "--flag", "--version"] });
});

test("an unusual argv[0] changes nothing else", async () => {
  const script = 'exec -a "$0" "$1" identity';
  for (const name of ["renamed", "/no/such/file", "bun", "-sh"]) {
    const { json } = await run(["bash", "-c", script, name, probe.linked]);
    expect(json).toMatchObject({ execPath: probe.linked, args: [] });
  }
});

test("TLS: a certificate is trusted only when passed as CA", async () => {
  const { key, cert } = selfSigned();
  const ca = join(dir, "ca.pem");
  writeFileSync(ca, cert);
  using server = Bun.serve({ port: 0, tls: { key, cert }, fetch: () => new Response("hello") });
  const url = `https://localhost:${server.port}/`;
  expect((await both(["fetch", url, ca])).json).toBe("hello");
  expect((await both(["fetch", url, ""])).json).toEqual({ code: "DEPTH_ZERO_SELF_SIGNED_CERT" });
});

test("a crash prints its report", async () => {
  const [plain, linked] = await Promise.all(
    [probe.plain, probe.linked].map((file) => run([file, "crash"])),
  );
  expect(linked!.signal).toBe(plain!.signal);
  expect(linked!.err).toContain("Segmentation fault at address 0x8");
  expect(linked!.err).toContain(probe.linked);
});

describe("memory and descriptors", () => {
  interface Mapping {
    readonly flags: string;
    readonly file: string;
    readonly kb: Readonly<Record<string, number>>;
  }

  function mappings(smaps: string): readonly Mapping[] {
    return smaps.split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m).map((block) => {
      const [, flags, file] = /^\S+ (\S+) \S+ \S+ \S+ *(.*)$/m.exec(block)!;
      const kb = [...block.matchAll(/^(\w+): +(\d+) kB$/gm)].map(([, k, v]) => [k!, Number(v)]);
      return { flags: flags!, file: file!, kb: Object.fromEntries(kb) as Record<string, number> };
    });
  }

  let self: { fds: string[]; smaps: string };
  let maps: readonly Mapping[];
  beforeAll(async () => {
    // Pages of a file that has not been synced count as dirty too.
    fsyncSync(openSync(probe.linked, "r"));
    self = (await run([probe.linked, "self"])).json as typeof self;
    maps = mappings(self.smaps);
  });

  test("all code is in shared, clean pages of the executable", () => {
    const code = maps.filter(({ flags, file }) => flags === "r-xp" && !file.startsWith("["));
    // The stub, the program, ld.so and the libraries.
    expect(code.length).toBeGreaterThanOrEqual(6);
    for (const { file, kb } of code) {
      expect(file).toBe(probe.linked);
      expect(kb["Private_Dirty"]).toBe(0);
      expect(kb["Anonymous"]).toBe(0);
    }
  });

  test("read-only data is in pages of the executable too", () => {
    const data = maps.filter(({ flags, file }) => flags === "r--p" && file.includes("memfd"));
    // Only the pages that ld.so made read-only after relocation, a few for each library.
    const kb = data.reduce((sum, m) => sum + m.kb["Size"]!, 0);
    expect(kb).toBeLessThanOrEqual(64);
  });

  test("the copies of the libraries use memory only for their data", () => {
    const kb = maps
      .filter(({ file }) => file.includes("memfd"))
      .reduce((sum, m) => sum + m.kb["Rss"]!, 0);
    expect(kb).toBeGreaterThan(0);
    expect(kb).toBeLessThanOrEqual(128);
  });

  test("no descriptor of a copy or of the executable stays open", () => {
    expect(self.fds.length).toBeGreaterThan(2);
    expect(self.fds.filter((target) => /memfd|probe/.test(target))).toEqual([]);
  });
});

describe("the stub", () => {
  const limited = (limit: string): Promise<Run> =>
    run(["bash", "-c", `${limit}; exec "$0" timers`, probe.linked]);

  test("starts with the standard descriptors closed", async () => {
    expect(await run(["bash", "-c", 'exec "$0" timers <&- >&- 2>&-', probe.linked])).toMatchObject({
      code: 0,
    });
  });

  test("prints one line when the limit on open files is too low", async () => {
    const { code, err } = await limited("ulimit -n 5");
    expect(code).toBe(127);
    expect(err).toBe("static-elf: can't make a memory file for libpthread.so.0: errno 24\n");
  });

  test("prints one line when the limit on file size is too low", async () => {
    const { code, err } = await limited("ulimit -f 100");
    expect(code).toBe(127);
    expect(err).toMatch(/^static-elf: the file size limit .*\n$/);
  });

  test("works with the largest environment the kernel permits", async () => {
    const env = Object.fromEntries(
      Array.from({ length: 14 }, (_, i) => [`BUN_${i}`, "x".repeat(100_000)]),
    );
    expect(await run([probe.linked, "timers"], { env })).toMatchObject({ code: 0 });
  });
});
