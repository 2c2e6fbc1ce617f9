/** Starts and ends the processes of a bench, and reads from /proc what they have used. (proc(5)) */
import { readFileSync, writeFileSync } from "node:fs";

const TICKS_PER_S = 100;
const TRIES_MAX = 1000;
const TRY_MS = 10;

/** Returns the user and system time of a process so far, in seconds. */
export function cpuS(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_S;
}

/** Returns the peak memory of a process since its start or the last `resetPeak`, in MiB. */
export function peakMb(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024;
}

/** Restarts the measurement of `peakMb`. */
export function resetPeak(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, "5");
}

/** Returns what a process has written to disks so far, in MB. */
export function writtenMb(pid: number): number {
  const io = readFileSync(`/proc/${pid}/io`, "utf8");
  return Number(/^write_bytes: (\d+)/m.exec(io)?.[1] ?? 0) / 1e6;
}

/** Starts a program. Unless `quiet`, its output goes to ours. */
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

/** Sends `signal` to processes and waits until they have ended. Skips undefined ones. */
export async function end(
  processes: readonly (Bun.Subprocess | undefined)[],
  signal: NodeJS.Signals = "SIGTERM",
): Promise<void> {
  const started = processes.filter((child) => child !== undefined);
  for (const child of started) child.kill(signal);
  await Promise.all(started.map((child) => child.exited));
}

/** Resolves once something listens on the loopback port. Rejects after 10 s. */
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

/** Repeats a request until its status is 2xx, and returns that response. Rejects after 1000 tries. */
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

/** Returns ports that nothing listens on at the moment. */
export function freePorts(count: number): number[] {
  const listeners = Array.from({ length: count }, () =>
    Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } }),
  );
  const ports = listeners.map((l) => l.port);
  for (const listener of listeners) listener.stop(true);
  return ports;
}

/** Returns the version number that a program prints, or undefined if the program is not installed. */
export function versionOf(path: string | null, flag: string): string | undefined {
  if (path === null) return undefined;
  const { stdout } = Bun.spawnSync([path, flag], { stdio: ["ignore", "pipe", "ignore"] });
  return /\d+\.\d[\w.]*/.exec(stdout.toString())?.[0];
}

/** Finds a server's program. Debian puts some where only root's PATH reaches. */
export function programPath(name: string): string | null {
  return Bun.which(name, { PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin` });
}
