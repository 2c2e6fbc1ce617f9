/**
 * Variables, files in the working directory and a proxy by which an image could influence or stop the agent, or see its bearer
 * token. None of them may have any effect, and a sensor gets all variables unchanged. (A3, A10)
 */
import type { Root } from "./root.ts";

/** The working directory of the agent, with files that Bun would load. */
export const CWD = "/cwd";

/** Every variable known to influence a Bun program or its loader unless it is hidden. */
export function hostileEnvironment(proxy: string): Record<string, string> {
  const names = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"];
  return {
    PATH: "/usr/bin:/bin:.:",
    LD_PRELOAD: "/hostile/witness.so",
    LD_AUDIT: "/hostile/witness.so",
    LD_LIBRARY_PATH: "/hostile/lib:.",
    LD_BIND_NOW: "1",
    GLIBC_TUNABLES: "glibc.malloc.check=3:glibc.rtld.nns=1",
    GCONV_PATH: "/hostile",
    BUN_BE_BUN: "1",
    BUN_OPTIONS: `--preload ${CWD}/hostile.ts`,
    BUN_INSPECT: "127.0.0.1:0",
    BUN_JSC_dumpOptions: "2",
    JSC_dumpOptions: "2",
    MIMALLOC_VERBOSE: "1",
    NODE_OPTIONS: `--require ${CWD}/hostile.ts`,
    NODE_TLS_REJECT_UNAUTHORIZED: "0",
    NODE_EXTRA_CA_CERTS: "/hostile/ca.pem",
    SSL_CERT_FILE: "/hostile/ca.pem",
    SSL_CERT_DIR: "/hostile",
    TZ: "/hostile/zone",
    LC_ALL: "hostile",
    ...Object.fromEntries(names.map((name) => [name, proxy])),
  };
}

/** Creates the files that the variables name, and those that Bun would load from its working directory. */
export function addHostileFiles(root: Pick<Root, "file">, witness: Uint8Array): void {
  root.file("/hostile/witness.so", witness, 0o755);
  // Only libraries that Bun needs and sensors do not: sensors get LD_LIBRARY_PATH back and would fail to start.
  for (const name of ["libpthread.so.0", "libdl.so.2"])
    root.file(`/hostile/lib/${name}`, "garbage", 0o755);
  root.file("/hostile/ca.pem", "garbage");
  root.file(
    `${CWD}/.env`,
    "FLEET_NODE_ID=hostile\nFLEET_COORDINATOR_URL=http://127.0.0.1:1\nFLEET_STATE_DIR=/hostile\n",
  );
  root.file(`${CWD}/bunfig.toml`, `preload = ["${CWD}/hostile.ts"]\n[install]\nauto = "force"\n`);
  root.file(`${CWD}/package.json`, "{ not JSON");
  root.file(
    `${CWD}/tsconfig.json`,
    JSON.stringify({ extends: "./missing", compilerOptions: { paths: { "*": ["./hostile.ts"] } } }),
  );
  root.file(
    `${CWD}/hostile.ts`,
    'import { appendFileSync } from "node:fs";\n' +
      'appendFileSync("/state/hostile", "was run");\nprocess.exit(66);\n',
  );
}

/** A proxy that must not be used; it counts its connections. */
export class TrapProxy {
  visitors = 0;
  readonly #listener = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      open: (socket) => {
        this.visitors++;
        socket.end();
      },
      data() {},
    },
  });

  get url(): string {
    return `http://127.0.0.1:${this.#listener.port}`;
  }

  close(): void {
    this.#listener.stop(true);
  }
}
