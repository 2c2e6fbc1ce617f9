/** Shells, download clients, misbehaving servers and full file systems for install-script.test.ts. */
import { chmodSync, mkdtempSync, symlinkSync } from "node:fs";
import { join } from "node:path";

/** This machine's processor, as the coordinator names it. */
export const ARCH = process.arch === "arm64" ? "aarch64" : "x86_64";
/** Larger than the buffers of sockets and pipes, so that a download takes a while. */
export const LARGE_BYTES = 24 * 1024 ** 2;
const TOOLS = "sh cat chmod df find grep id ls mkdir mv rm sed sync tail tr uname wc".split(" ");

/** A shell, its download client, and the origin of its tools. */
export interface Kit {
  readonly name: string;
  readonly shell: string;
  readonly client: "curl" | "wget";
  /** Whether its tools and its client are busybox applets. */
  readonly isBusybox: boolean;
}

/** The kits to test. */
export const KITS: readonly Kit[] = [
  { name: "dash with curl", shell: "dash", client: "curl", isBusybox: false },
  { name: "dash with GNU wget", shell: "dash", client: "wget", isBusybox: false },
  { name: "busybox with its wget", shell: "busybox", client: "wget", isBusybox: true },
];

/** Reports whether a kit is missing here, and says why its tests are skipped. In CI they always run. */
export function isMissing(kit: Kit): boolean {
  const missing = [kit.shell, kit.isBusybox ? "busybox" : kit.client].filter(
    (program) => Bun.which(program) === null,
  );
  if (missing.length === 0 || process.env["CI"] !== undefined) return false;
  console.log(`skipped install.sh in ${kit.name}: ${missing.join(" and ")} not installed`);
  return true;
}

/** Creates a directory in `top` with only the tools that the script needs, and `more`. */
export function toolsOf(top: string, kit: Kit, more: readonly string[]): string {
  const dir = mkdtempSync(join(top, "bin-"));
  chmodSync(dir, 0o755);
  for (const tool of [...TOOLS, ...more]) {
    const program = kit.isBusybox ? Bun.which("busybox") : Bun.which(tool);
    if (program !== null) symlinkSync(program, join(dir, tool));
  }
  return dir;
}

/** Starts a proxy in front of the coordinator that changes its response to one path. */
export function changingProxy(
  coordinatorUrl: string,
  path: string,
  change: (answer: Response) => Response | Promise<Response>,
): AsyncDisposable & { readonly url: string } {
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    async fetch(request) {
      const { pathname, search } = new URL(request.url);
      const answer = await fetch(`${coordinatorUrl}${pathname}${search}`, {
        method: request.method,
        headers: request.headers,
        ...(request.method === "POST" ? { body: await request.text() } : {}),
      });
      return pathname === path ? change(answer) : answer;
    },
  });
  return {
    url: `http://127.0.0.1:${server.port}`,
    [Symbol.asyncDispose]: () => server.stop(true),
  };
}

/** Starts a server that sends less of the agent than its Content-Length says, and then waits or closes. */
export function truncatingServer(
  after: "close" | "wait",
): Disposable & { readonly url: string; isAsked: boolean } {
  const listener = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      data(socket, chunk) {
        const isInfo = chunk.toString().includes("/agent/info");
        const body = JSON.stringify({
          agents: [{ arch: ARCH, version: null, bytes: LARGE_BYTES, sha256: "0".repeat(64) }],
        });
        const head = `HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length:`;
        if (isInfo) socket.end(`${head} ${body.length}\r\n\r\n${body}`);
        else {
          server.isAsked = true;
          socket.write(`${head} ${LARGE_BYTES}\r\n\r\n#!/bin/sh\n`);
          if (after === "close") socket.end();
        }
      },
    },
  });
  const server = {
    url: `http://127.0.0.1:${listener.port}`,
    isAsked: false,
    [Symbol.dispose]: () => listener.stop(true),
  };
  return server;
}

/** Mounts an empty file system. The test unmounts it. */
export function mount(dir: string, options: string): void {
  const { exitCode, stderr } = Bun.spawnSync(["mount", "-t", "tmpfs", "-o", options, "none", dir]);
  if (exitCode !== 0) throw new Error(stderr.toString());
}
