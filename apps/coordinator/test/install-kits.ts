/** Shells, HTTP clients, misbehaving servers and full file systems for install-script.test.ts. */
import { chmodSync, mkdtempSync, symlinkSync } from "node:fs";
import { join } from "node:path";

/** This machine's architecture, by the coordinator's name. */
export const ARCH = process.arch === "arm64" ? "aarch64" : "x86_64";
/** Larger than socket and pipe buffers, so that a download is still in progress when the test checks. */
export const LARGE_BYTES = 24 * 1024 ** 2;
const TOOLS = "sh cat chmod df find grep id ls mkdir mv rm sed sync tail tr uname wc".split(" ");

/** A shell, an HTTP client, and the tools on PATH. */
export interface Kit {
  readonly name: string;
  readonly shell: string;
  readonly client: "curl" | "wget";
  /** Whether tools and client are busybox's. */
  readonly isBusybox: boolean;
}

/** The tested combinations. */
export const KITS: readonly Kit[] = [
  { name: "dash with curl", shell: "dash", client: "curl", isBusybox: false },
  { name: "dash with GNU wget", shell: "dash", client: "wget", isBusybox: false },
  { name: "busybox with its wget", shell: "busybox", client: "wget", isBusybox: true },
];

/** Whether a program is missing; logs it. In CI none may be missing. */
export function lacks(kit: Kit): boolean {
  const missing = [kit.shell, kit.isBusybox ? "busybox" : kit.client].filter(
    (program) => Bun.which(program) === null,
  );
  if (missing.length === 0 || process.env["CI"] !== undefined) return false;
  console.log(`${missing.join(" and ")} not found: skipping install.sh in ${kit.name}`);
  return true;
}

/** Creates a directory below `top` with links to the programs the script needs and to `more`, and nothing else. */
export function toolsOf(top: string, kit: Kit, more: readonly string[]): string {
  const dir = mkdtempSync(join(top, "bin-"));
  chmodSync(dir, 0o755);
  for (const tool of [...TOOLS, ...more]) {
    const program = kit.isBusybox ? Bun.which("busybox") : Bun.which(tool);
    if (program !== null) symlinkSync(program, join(dir, tool));
  }
  return dir;
}

/** A proxy in front of the coordinator that changes its responses for `path`. */
export function between(
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

/** A server that announces a binary's length, sends less, and then waits or closes. */
export function cutting(
  after: "close" | "wait",
): Disposable & { readonly url: string; asked: boolean } {
  const server = Bun.listen({
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
          cut.asked = true;
          socket.write(`${head} ${LARGE_BYTES}\r\n\r\n#!/bin/sh\n`);
          if (after === "close") socket.end();
        }
      },
    },
  });
  const cut = {
    url: `http://127.0.0.1:${server.port}`,
    asked: false,
    [Symbol.dispose]: () => server.stop(true),
  };
  return cut;
}

/** Mounts an empty file system, which the test unmounts. */
export function mount(dir: string, options: string): void {
  const { exitCode, stderr } = Bun.spawnSync(["mount", "-t", "tmpfs", "-o", options, "none", dir]);
  if (exitCode !== 0) throw new Error(stderr.toString());
}
