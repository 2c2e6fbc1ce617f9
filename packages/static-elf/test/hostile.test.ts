/**
 * Nothing in the environment, the working directory or the image's files changes or prevents the run of a linked program.
 * Attacks that succeed against the unlinked program are tested there too, to prove that they are effective.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { libraryDirs } from "../src/libraries.ts";
import { buildProbe, type Probe, run, type RunOptions } from "./build-probe.ts";
import { selfSigned } from "./certificate.ts";

const dir = mkdtempSync(join(tmpdir(), "static-elf-hostile-"));
const TRIPLE = `${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`;
/** What injected code prints. */
const INJECTED = "INJECTED";
const evil = join(dir, "evil.so");
let probe: Probe;

beforeAll(async () => {
  probe = await buildProbe(dir);
  const source = join(dir, "evil.c");
  // Written unbuffered, so that it appears even if the program dies. The symbols are those that ld.so, NSS and gconv look up.
  writeFileSync(
    source,
    `#include <unistd.h>
     __attribute__((constructor)) static void injected(void) { (void)!write(1, "${INJECTED}\\n", 9); }
     unsigned la_version(unsigned version) { return version; }
     int gconv_init(void *step) { return 0; }
     int gconv(void) { return 0; }
     int _nss_evil_gethostbyname4_r(void) { return -1; }`,
  );
  const made = Bun.spawnSync(["gcc", "-shared", "-fPIC", "-o", evil, source]);
  expect(made.stderr.toString()).toBe("");
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const plainRun = (args: readonly string[], options?: RunOptions) =>
  run([probe.plain, ...args], options);
const linkedRun = (args: readonly string[], options?: RunOptions) =>
  run([probe.linked, ...args], options);

function put(root: string, files: Readonly<Record<string, string>>): void {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), content);
  }
}

describe("the environment", () => {
  /** Name, value, and whether it is known to affect the unlinked program. */
  const attacks = (): readonly (readonly [string, string, boolean?])[] => [
    ["LD_PRELOAD", evil, true],
    ["LD_AUDIT", evil, true],
    ["LD_LIBRARY_PATH", join(dir, "lib"), true],
    ["LD_BIND_NOW", "1"],
    ["LD_DEBUG", "all", true],
    ["LD_TRACE_LOADED_OBJECTS", "1", true],
    ["LD_PROFILE", "libc.so.6"],
    ["GLIBC_TUNABLES", "glibc.malloc.check=3:glibc.rtld.optional_static_tls=1"],
    ["GCONV_PATH", dir],
    ["LOCPATH", dir],
    ["MALLOC_PERTURB_", "165"],
    ["BUN_BE_BUN", "1", true],
    ["BUN_OPTIONS", `--preload=${join(dir, "evil.js")}`, true],
    ["BUN_INSPECT", "127.0.0.1:0"],
    ["BUN_INSPECT_CONNECT_TO", "127.0.0.1:1"],
    ["BUN_INSPECT_PRELOAD", join(dir, "evil.js")],
    ["BUN_CONFIG_VERBOSE_FETCH", "1"],
    ["BUN_JSC_logGC", "2"],
    ["BUN_JSC_dumpOptions", "2", true],
    ["NODE_OPTIONS", `--require=${join(dir, "evil.js")}`],
    ["NODE_PATH", dir],
    ["NODE_DEBUG", "*"],
    ["NODE_CHANNEL_FD", "1"],
    ["JSC_dumpOptions", "2"],
    ["JSC_useJIT", "0"],
    ["Malloc", "1"],
    ["MIMALLOC_SHOW_STATS", "1"],
    ["MIMALLOC_VERBOSE", "1"],
    ["OPENSSL_ia32cap", "0x0"],
    ["OPENSSL_CONF", join(dir, "evil.js")],
    ["ICU_DATA", dir],
    ["UV_THREADPOOL_SIZE", "0"],
    ["GOMAXPROCS", "1"],
    ["WTF_numberOfProcessorCores", "1"],
    ["RES_OPTIONS", "ndots:15 timeout:1"],
    ["LOCALDOMAIN", "invalid"],
    ["HOSTALIASES", join(dir, "aliases")],
  ];

  beforeAll(() => {
    put(dir, {
      "evil.js": `require("fs").writeSync(1, "${INJECTED}\\n");`,
      "lib/libc.so.6": "no library at all",
      "lib/libm.so.6": "",
      aliases: "localhost example.invalid\n",
      "gconv-modules": "module KOI8-R// INTERNAL evil 1\nmodule INTERNAL ISO-8859-15// evil 1\n",
    });
    cpSync(evil, join(dir, "evil"));
  });

  test("no variable changes the run or its output", async () => {
    const clean = await linkedRun(["stdio", "3"], { stdin: "hello" });
    expect(clean.json).toBe("HELLO");
    for (const [name, value] of attacks()) {
      const attacked = await linkedRun(["stdio", "3"], { env: { [name]: value }, stdin: "hello" });
      expect([name, attacked]).toEqual([name, clean]);
    }
  });

  test("all variables at once do not either", async () => {
    const env = Object.fromEntries(attacks().map(([name, value]) => [name, value]));
    expect((await linkedRun(["gconv"], { env })).json).toBe(true);
    expect((await linkedRun(["resolve", "localhost"], { env })).json).toEqual({
      libc: "127.0.0.1",
      cares: "127.0.0.1",
    });
  });

  test("some variables affect the unlinked program", async () => {
    const clean = await plainRun(["stdio", "3"], { stdin: "hello" });
    for (const [name, value, works] of attacks()) {
      if (works !== true) continue;
      const attacked = await plainRun(["stdio", "3"], { env: { [name]: value }, stdin: "hello" });
      expect([name, Bun.deepEquals(attacked, clean)]).toEqual([name, false]);
    }
  });

  test("hidden variables have a name with a control character, all others their own", async () => {
    const env = {
      LD_PRELOAD: "/no.so",
      BUN_BE_BUN: "1",
      http_proxy: "http://p",
      NO_PROXY: "*",
      Malloc: "1",
      LDX: "a",
      MY_proxy: "b",
      _PROXY: "c",
      BUN: "d",
      EMPTY: "",
      TZ: "UTC",
    };
    expect((await linkedRun(["env"], { env: { ...env, PATH: "/bin" } })).json).toEqual({
      "\x0cD_PRELOAD": "/no.so",
      "\x02UN_BE_BUN": "1",
      "\x08ttp_proxy": "http://p",
      "\x0eO_PROXY": "*",
      "\x0dalloc": "1",
      LDX: "a",
      MY_proxy: "b",
      _PROXY: "c",
      BUN: "d",
      EMPTY: "",
      TZ: "UTC",
      PATH: "/bin",
    });
  });

  test("no request goes to a proxy from the image's environment", async () => {
    let asked = 0;
    using proxy = Bun.serve({
      port: 0,
      fetch: () => {
        asked++;
        return new Response("from the proxy");
      },
    });
    using server = Bun.serve({ port: 0, fetch: () => new Response("direct") });
    const to = `http://localhost:${proxy.port}`;
    const url = `http://127.0.0.1:${server.port}/`;
    const names = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"];
    const env = Object.fromEntries(names.map((name) => [name, to]));
    expect((await linkedRun(["fetch", url, ""], { env })).json).toBe("direct");
    expect(asked).toBe(0);
    expect((await plainRun(["fetch", url, ""], { env })).out).toContain("from the proxy");
    expect(asked).toBe(1);
  });

  test("no variable makes the program trust a certificate", async () => {
    const { key, cert } = selfSigned();
    put(dir, { "ca.pem": cert });
    using server = Bun.serve({ port: 0, tls: { key, cert }, fetch: () => new Response("trusted") });
    const url = `https://localhost:${server.port}/`;
    const ca = join(dir, "ca.pem");
    const fooled: string[] = [];
    for (const [name, value] of [
      ["NODE_TLS_REJECT_UNAUTHORIZED", "0"],
      ["NODE_EXTRA_CA_CERTS", ca],
      ["SSL_CERT_FILE", ca],
      ["SSL_CERT_DIR", dir],
      ["NODE_USE_SYSTEM_CA", "1"],
      ["NODE_USE_OPENSSL_CA", "1"],
    ] as const) {
      const env = { [name]: value };
      expect([name, (await linkedRun(["fetch", url, ""], { env })).json]).toEqual([
        name,
        { code: "DEPTH_ZERO_SELF_SIGNED_CERT" },
      ]);
      if ((await plainRun(["fetch", url, ""], { env })).json === "trusted") fooled.push(name);
    }
    expect(fooled).toContain("NODE_TLS_REJECT_UNAUTHORIZED");
    expect(fooled).toContain("NODE_EXTRA_CA_CERTS");
  });
});

test("no file in the working or home directory changes anything", async () => {
  const files = {
    ".env": "INJECTED=1\nBUN_OPTIONS=--preload=./evil.js\n",
    ".env.production": "INJECTED=1\n",
    ".env.local": "INJECTED=1\n",
    "bunfig.toml": 'preload = ["./evil.js"]\n[run]\nsilent = true\n',
    ".bunfig.toml": 'preload = ["./evil.js"]\n',
    ".npmrc": "node-options=--require=./evil.js\n",
    "package.json": '{"type":"commonjs","imports":{"#x":"./evil.js"},"main":"evil.js"}',
    "tsconfig.json": '{"compilerOptions":{"paths":{"*":["./evil.js"]}},"extends":"./evil"}',
    "evil.js": `require("fs").writeSync(1, "${INJECTED}\\n");`,
    "worker.ts": `postMessage("${INJECTED}");`,
    "node_modules/fs/index.js": `require("fs").writeSync(1, "${INJECTED}\\n");`,
    "node_modules/bun:ffi/index.js": `console.log("${INJECTED}");`,
    "[eval]": "}",
  };
  const cwd = join(dir, "cwd");
  put(cwd, files);
  const env = { HOME: cwd, XDG_CONFIG_HOME: cwd, PWD: cwd };
  const there = await linkedRun(["env"], { cwd, env });
  expect(there.json).toEqual((await linkedRun(["env"], { cwd: dir, env })).json);
  for (const [args, expected] of [
    [["worker"], [40, 42]],
    [["stdio", "0"], ""],
    [["threadExit"], [0, 0]],
  ] as const) {
    const { json, err } = await linkedRun(args, { cwd, env });
    expect(json).toEqual(expected);
    expect(err).not.toContain(INJECTED);
  }
});

/** Whether this process can use chroot. Required in CI. */
const mayChroot =
  process.getuid?.() === 0 && Bun.spawnSync(["unshare", "-m", "true"]).exitCode === 0;
if (!mayChroot && process.env["CI"] !== "true")
  console.warn("hostile.test.ts: tests with their own root are skipped, because they require root");

describe.skipIf(!mayChroot && process.env["CI"] !== "true")("the files of the image", () => {
  const root = join(dir, "root");
  const SYSTEM_DIRS = [
    `lib/${TRIPLE}`,
    `usr/lib/${TRIPLE}`,
    "lib",
    "usr/lib",
    "lib64",
    "usr/lib64",
  ];
  const LIBRARIES = ["libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "libgcc_s.so.1"];

  /** Runs a program in the root with /proc, which is mounted in a namespace that ends with the program. */
  const inRoot = (program: "plain" | "linked", ...args: readonly string[]) =>
    run([
      "unshare",
      "-m",
      "sh",
      "-c",
      'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"',
      root,
      `/${program}`,
      ...args,
    ]);

  beforeAll(() => {
    put(root, {
      "etc/nsswitch.conf": "hosts: nosuch evil files dns\npasswd: nosuch evil files\n",
      "etc/hosts": "127.0.0.1 localhost\n127.0.0.9 named.test\n",
      "etc/passwd": "root:x:0:0::/home/of/root:/bin/sh\n",
      "etc/gai.conf": "label ::/0 x\nscopev4 nonsense\nprecedence\n\0\0",
      "etc/resolv.conf": "nameserver not-an-address\noptions ndots:-1 \0 timeout:x\nsearch\n",
      "etc/host.conf": "multi perhaps\nreorder\n\x01",
      "etc/localtime": "TZif nonsense",
      "etc/bunfig.toml": 'preload = ["/evil.js"]',
      "usr/lib/locale/locale-archive": "nonsense",
      "proc/.keep": "",
    });
    for (const form of ["plain", "linked"] as const) cpSync(probe[form], join(root, form));
    const ldso = process.arch === "arm64" ? "ld-linux-aarch64.so.1" : "ld-linux-x86-64.so.2";
    for (const at of SYSTEM_DIRS) {
      mkdirSync(join(root, at, "gconv"), { recursive: true });
      for (const name of ["libnss_evil.so.2", "gconv/evil.so", "libssl.so", "libcurl.so.4"])
        cpSync(evil, join(root, at, name));
      put(root, {
        [`${at}/gconv/gconv-modules`]:
          "module KOI8-R// INTERNAL evil 1\nmodule INTERNAL ISO-8859-15// evil 1\n",
      });
      for (const name of [...LIBRARIES, ldso]) {
        const from = libraryDirs(TRIPLE.startsWith("a") ? "aarch64" : "x86_64")
          .map((d) => join(d, name))
          .find((path) => existsSync(path));
        cpSync(from!, join(root, at, name), { dereference: true });
      }
    }
  });

  test("hostile NSS modules, converters and preloaded libraries affect the unlinked program", async () => {
    expect((await inRoot("plain", "timers")).out).not.toContain(INJECTED);
    expect((await inRoot("plain", "resolve", "named.test")).out).toContain(INJECTED);
    expect((await inRoot("plain", "gconv")).out).toContain(INJECTED);
    cpSync(evil, join(root, "evil.so"));
    put(root, { "etc/ld.so.preload": "/evil.so\n" });
    expect((await inRoot("plain", "timers")).out).toContain(INJECTED);
  });

  const works = async (): Promise<void> => {
    expect(await inRoot("linked", "timers")).toMatchObject({ json: ["soon", "later"], err: "" });
    expect((await inRoot("linked", "resolve", "named.test")).json).toEqual({
      libc: "127.0.0.9",
      cares: "127.0.0.9",
    });
    // Without c-ares: when no name server listens, Bun 1.4.5 spins until its timeout, linked or not.
    const unknown = await inRoot("linked", "resolve", "other.test", "libc-only");
    expect(unknown.json).toEqual({ libc: expect.stringMatching(/^(DNS_|EAI_)/) as string });
    expect((await inRoot("linked", "gconv")).json).toBe(true);
    expect((await inRoot("linked", "home")).json).toBe("/home/of/root");
    expect((await inRoot("linked", "threadExit")).json).toEqual([0, 0]);
    expect((await inRoot("linked", "worker")).json).toEqual([40, 42]);
  };

  test("they do not affect the linked program", works);

  test("it works when the image's libraries and their cache are invalid", async () => {
    for (const at of SYSTEM_DIRS)
      for (const name of LIBRARIES) put(root, { [`${at}/${name}`]: "no library at all" });
    put(root, { "etc/ld.so.cache": "glibc-ld.so.cache1.1 and no more" });
    expect((await inRoot("plain", "timers")).code).not.toBe(0);
    await works();
  });

  test("it works with nothing but /proc", async () => {
    for (const at of ["lib", "lib64", "usr", "etc"])
      rmSync(join(root, at), { recursive: true, force: true });
    expect(await inRoot("linked", "timers")).toMatchObject({ json: ["soon", "later"], err: "" });
    expect((await inRoot("linked", "threadExit")).json).toEqual([0, 0]);
    expect((await inRoot("linked", "worker")).json).toEqual([40, 42]);
    expect((await inRoot("linked", "sqlite", "/file.db")).json).toEqual([{ n: 42 }, { n: 42 }]);
  });

  test("without /proc it prints one line", async () => {
    const { code, err } = await run(["chroot", root, "/linked", "timers"]);
    expect(code).toBe(127);
    expect(err).toMatch(/^static-elf: can't open \/proc\/self\/exe \(is \/proc mounted.*\n$/);
  });

  test("it starts with vm.memfd_noexec=2", async () => {
    const script =
      '[ ! -e /proc/sys/vm/memfd_noexec ] || echo 2 >/proc/sys/vm/memfd_noexec; exec "$0" timers';
    const { json } = await run([
      "unshare",
      "--pid",
      "--fork",
      "--mount-proc",
      "sh",
      "-c",
      script,
      probe.linked,
    ]);
    expect(json).toEqual(["soon", "later"]);
  });

  test("it starts as another user, without capabilities, and set-user-ID", async () => {
    const nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    Bun.spawnSync(["chmod", "755", dir, dirname(probe.linked)]);
    const args = ["--no-new-privs", "--bounding-set=-all", probe.linked, "timers"];
    expect((await run([...nobody, ...args])).json).toEqual(["soon", "later"]);
    const setuid = join(dir, "setuid");
    cpSync(probe.linked, setuid);
    Bun.spawnSync(["chmod", "4755", setuid]);
    expect(
      (await run([...nobody, setuid, "timers"], { env: { TMPDIR: "/x", TZDIR: "/x" } })).json,
    ).toEqual(["soon", "later"]);
  });
});
