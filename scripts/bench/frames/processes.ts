/** The processes of a bench: starting and ending them, and what they have used so far, from /proc. (proc(5)) */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Control } from "./control.ts";

const TICKS_PER_S = 100;
const TRIES_MAX = 1000;
const TRY_MS = 10;

/** User and system time of a process so far, s. */
export function cpuS(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_S;
}

/** The most memory a process has held since its start or `forgetPeak`, MB. */
export function peakMb(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024;
}

export function forgetPeak(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, "5");
}

/** What a process has had written to disks, MB. */
export function writtenMb(pid: number): number {
  const io = readFileSync(`/proc/${pid}/io`, "utf8");
  return Number(/^write_bytes: (\d+)/m.exec(io)?.[1] ?? 0) / 1e6;
}

/** Starts a program of this bench, or a server. What it says on stderr is the bench's, unless it is told to be quiet. */
export function start(
  command: readonly string[],
  env: Record<string, string> = {},
  quiet = false,
): Bun.Subprocess {
  return Bun.spawn([...command], {
    env: { ...process.env, ...env },
    stdio: ["ignore", quiet ? "ignore" : "inherit", quiet ? "ignore" : "inherit"],
  });
}

/** Starts `source.ts`, `sink.ts` or `latency-driver.ts` with its orders. It stays until it is killed; if not, the round fails. */
export function startPart(
  control: Control,
  name: "source" | "sink" | "latency-driver",
  dir: string,
  orders: object,
): Bun.Subprocess {
  const file = join(dir, `${name}.json`);
  writeFileSync(file, JSON.stringify(orders));
  return Bun.spawn([process.execPath, join(import.meta.dir, `${name}.ts`), file], {
    stdio: ["ignore", "inherit", "inherit"],
    onExit(_child, exitCode) {
      if (exitCode !== null) control.fail(new Error(`the ${name} ended with ${exitCode}`));
    },
  });
}

/** Ends processes and waits until they are gone. */
export async function end(
  processes: readonly (Bun.Subprocess | undefined)[],
  signal: NodeJS.Signals = "SIGTERM",
): Promise<void> {
  const there = processes.filter((child) => child !== undefined);
  for (const child of there) child.kill(signal);
  await Promise.all(there.map((child) => child.exited));
}

/** Resolves once something listens on a loopback port. */
export async function untilListening(port: number): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      const socket = await Bun.connect({ hostname: "127.0.0.1", port, socket: { data() {} } });
      socket.end();
      return;
    } catch (error) {
      if (tries >= TRIES_MAX) throw error;
      await Bun.sleep(TRY_MS);
    }
  }
}

/** Asks until the answer is a good one. */
export async function untilOk(url: string, init?: RequestInit): Promise<Response> {
  for (let tries = 0; ; tries++) {
    try {
      const response = await fetch(url, init);
      if (response.ok) return response;
      throw new Error(`${url}: ${response.status} ${await response.text()}`);
    } catch (error) {
      if (tries >= TRIES_MAX) throw error;
      await Bun.sleep(TRY_MS);
    }
  }
}

/** Ports that nothing listens on just now. */
export function freePorts(count: number): number[] {
  const listeners = Array.from({ length: count }, () =>
    Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } }),
  );
  const ports = listeners.map((l) => l.port);
  for (const listener of listeners) listener.stop(true);
  return ports;
}

/** The first line of what a program says of its version, or undefined where it is not installed. */
export function versionOf(path: string | null, flag: string): string | undefined {
  if (path === null) return undefined;
  const { stdout } = Bun.spawnSync([path, flag], { stdio: ["ignore", "pipe", "ignore"] });
  return /\d+\.\d[\w.]*/.exec(stdout.toString())?.[0];
}

/** A server's program; Debian keeps them where only root looks. */
export function programPath(name: string): string | null {
  return Bun.which(name, { PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin` });
}
