/**
 * What the tests run inside a linked file and inside the same file unlinked: `probe ACTION [ARG…]` prints one JSON value.
 * Each action uses one thing that a program may expect to work.
 */
import { dlopen, FFIType, ptr } from "bun:ffi";
import { Database } from "bun:sqlite";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { homedir } from "node:os";

const text = (s: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(`${s}\0`);

const actions: Readonly<Record<string, (...args: string[]) => unknown>> = {
  identity: (...args) => ({
    args,
    execPath: process.execPath,
    argv0: process.argv0,
    title: process.title,
    main: import.meta.path,
    entry: process.argv[1],
  }),
  env: () => process.env,
  /** Writes stdin in capitals, a line to stderr, and exits with a code. */
  stdio: async (code) => {
    const input = await Bun.stdin.text();
    process.stderr.write("to stderr\n");
    process.exitCode = Number(code);
    return input.toUpperCase();
  },
  /** With glibc's resolver, which asks NSS and which fetch and sockets use, and with c-ares, which node:dns uses. */
  resolve: async (host, ...backends) => {
    const ask = async (backend: "libc" | "c-ares"): Promise<string> => {
      try {
        return (await Bun.dns.lookup(host, { backend, family: 4 }))[0]!.address;
      } catch (error) {
        return (error as NodeJS.ErrnoException).code ?? "no code";
      }
    };
    return backends.includes("libc-only")
      ? { libc: await ask("libc") }
      : { libc: await ask("libc"), cares: await ask("c-ares") };
  },
  /** From the user database, when HOME does not say it. */
  home: () => homedir(),
  /** Fetches a URL; an empty CA stands for the system's. */
  fetch: async (url, caFile) => {
    try {
      const tls = caFile === "" ? {} : { tls: { ca: readFileSync(caFile, "utf8") } };
      return await (await fetch(url, tls)).text();
    } catch (error) {
      return { code: (error as NodeJS.ErrnoException).code };
    }
  },
  worker: async () => {
    const answers: number[] = [];
    for (const n of [20, 21]) {
      const worker = new Worker("./worker.ts");
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- That is for windows.
      worker.postMessage(n);
      answers.push(
        await new Promise<number>((done) => {
          worker.addEventListener("message", ({ data }) => done(data as number), { once: true });
        }),
      );
      worker.terminate();
    }
    return answers;
  },
  sqlite: (file) =>
    [":memory:", file].map((name) => {
      const database = new Database(name);
      database.run("PRAGMA journal_mode = WAL");
      database.run("CREATE TABLE t (n)");
      database.run("INSERT INTO t VALUES (?)", [42]);
      const row = database.query("SELECT sum(n) AS n FROM t").get();
      database.close();
      return row;
    }),
  ffi: () => {
    const { symbols } = dlopen("libc.so.6", {
      getpid: { args: [], returns: FFIType.i32 },
      pipe2: { args: [FFIType.ptr, FFIType.i32], returns: FFIType.i32 },
      write: { args: [FFIType.i32, FFIType.ptr, FFIType.u64], returns: FFIType.i64 },
      read: { args: [FFIType.i32, FFIType.ptr, FFIType.u64], returns: FFIType.i64 },
      backtrace: { args: [FFIType.ptr, FFIType.i32], returns: FFIType.i32 },
      iconv_open: { args: [FFIType.ptr, FFIType.ptr], returns: FFIType.i64 },
    });
    const fds = new Int32Array(2);
    const got = new Uint8Array(3);
    return {
      pid: symbols.getpid() === process.pid,
      pipe: symbols.pipe2(ptr(fds), 0),
      wrote: Number(symbols.write(fds[1]!, ptr(text("abc")), 3)),
      read: Number(symbols.read(fds[0]!, ptr(got), 3)),
      got: Buffer.from(got).toString(),
      backtrace: symbols.backtrace(ptr(new BigUint64Array(9)), 9) > 0,
      // Built into libc; those that are not come from files of the image.
      utf32: Number(symbols.iconv_open(ptr(text("UCS-4")), ptr(text("UTF-8")))) > 0,
    };
  },
  /** Asks for a converter that is a library of its own. */
  gconv: () => {
    const { symbols } = dlopen("libc.so.6", {
      iconv_open: { args: [FFIType.ptr, FFIType.ptr], returns: FFIType.i64 },
    });
    return symbols.iconv_open(ptr(text("ISO-8859-15")), ptr(text("KOI8-R"))) === -1n;
  },
  /** Ends a second thread the way that makes glibc open libgcc_s. */
  threadExit: () => {
    const { symbols } = dlopen("libc.so.6", {
      dlsym: { args: [FFIType.ptr, FFIType.ptr], returns: FFIType.ptr },
      pthread_create: {
        args: [FFIType.ptr, FFIType.ptr, FFIType.ptr, FFIType.ptr],
        returns: FFIType.i32,
      },
      pthread_join: { args: [FFIType.u64, FFIType.ptr], returns: FFIType.i32 },
    });
    const thread = new BigUint64Array(1);
    const exit = symbols.dlsym(null, ptr(text("pthread_exit")));
    const made = symbols.pthread_create(ptr(thread), null, exit, null);
    return [made, symbols.pthread_join(thread[0]!, null)];
  },
  spawn: async (...command) => {
    const child = Bun.spawn(command, {
      env: { ...process.env, GIVEN: "yes" },
      stdin: "ignore",
      stdout: "pipe",
    });
    return { out: await child.stdout.text(), code: await child.exited };
  },
  crypto: async () => {
    const key = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]);
    const { privateKey, publicKey } = key as CryptoKeyPair;
    const signature = await crypto.subtle.sign("Ed25519", privateKey, text("x"));
    return {
      sha256: createHash("sha256").update("abc").digest("hex"),
      verified: await crypto.subtle.verify("Ed25519", publicKey, signature, text("x")),
      random: crypto.getRandomValues(new Uint8Array(9)).length,
    };
  },
  timers: async () => {
    const order: string[] = [];
    const later = AbortSignal.timeout(2);
    setImmediate(() => order.push("soon"));
    await new Promise((done) => {
      later.addEventListener("abort", done);
    });
    return [...order, "later"];
  },
  /** Descriptors and mappings of this very process, while nothing else is going on. */
  self: () => ({
    fds: readdirSync("/proc/self/fd").flatMap((fd) => {
      try {
        return [readlinkSync(`/proc/self/fd/${fd}`)];
      } catch {
        return []; // That of the listing itself.
      }
    }),
    smaps: readFileSync("/proc/self/smaps", "utf8"),
  }),
  crash: () => {
    const { symbols } = dlopen("libc.so.6", {
      strlen: { args: [FFIType.u64], returns: FFIType.u64 },
    });
    return symbols.strlen(8n);
  },
};

const action = actions[process.argv[2] ?? ""];
if (action === undefined) {
  console.error("no such action");
  process.exit(64);
}
const result = await action(...process.argv.slice(3));
process.stdout.write(`${JSON.stringify(result)}\n`);
