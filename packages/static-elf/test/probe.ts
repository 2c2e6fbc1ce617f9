/**
 * The program that the tests run in linked and unlinked form: `probe ACTION [ARG…]` prints one JSON value. Each action
 * exercises one feature that programs rely on.
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
  /** Returns stdin in upper case, writes a line to stderr, and sets the exit code. */
  stdio: async (code) => {
    const input = await Bun.stdin.text();
    process.stderr.write("to stderr\n");
    process.exitCode = Number(code);
    return input.toUpperCase();
  },
  /** Resolves with glibc, which uses NSS and is used by fetch and sockets, and with c-ares, which node:dns uses. */
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
  /** The home directory, from the user database if HOME is unset. */
  home: () => homedir(),
  /** Fetches a URL; an empty CA selects the default ones. */
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
      // This converter is built into libc; others are libraries of the image.
      utf32: Number(symbols.iconv_open(ptr(text("UCS-4")), ptr(text("UTF-8")))) > 0,
    };
  },
  /** Whether a converter that is a separate library is unavailable. */
  gconv: () => {
    const { symbols } = dlopen("libc.so.6", {
      iconv_open: { args: [FFIType.ptr, FFIType.ptr], returns: FFIType.i64 },
    });
    return symbols.iconv_open(ptr(text("ISO-8859-15")), ptr(text("KOI8-R"))) === -1n;
  },
  /** Ends a second thread with pthread_exit, which makes glibc open libgcc_s. */
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
  /** The descriptors and mappings of this process. */
  self: () => ({
    fds: readdirSync("/proc/self/fd").flatMap((fd) => {
      try {
        return [readlinkSync(`/proc/self/fd/${fd}`)];
      } catch {
        return []; // The descriptor of the listing itself.
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
  console.error("unknown action");
  process.exit(64);
}
const result = await action(...process.argv.slice(3));
process.stdout.write(`${JSON.stringify(result)}\n`);
