/** One round of the frame bench: starts the real server and its light ends, sends the work through, reads time and CPU. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../lib/root.ts";
import type { Control, Report } from "./control.ts";

const TICKS_PER_S = 100;
const ENROLL_TOKEN = "bench-enroll";
const OPERATOR_TOKEN = "bench-operator";
const NODE = "bench";
const SENSOR = "s";

/** What goes through: a file of `lines` frames in `bytes` bytes, `repeats` times. */
export interface Work {
  readonly dir: string;
  readonly file: string;
  readonly lines: number;
  readonly bytes: number;
  readonly repeats: number;
}

/** What a round showed. CPU is in seconds per million frames. */
export interface Figures {
  readonly framesPerS: number;
  readonly mbPerS: number;
  readonly serverCpuS: number;
  readonly allCpuS: number;
  readonly serverPeakMb: number;
}

/** User and system time of a process so far, s. (proc(5), fields 14 and 15 of stat) */
function cpuS(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_S;
}

function peakMb(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024;
}

function part(name: string, args: readonly string[], env: Record<string, string>): Bun.Subprocess {
  return Bun.spawn([process.execPath, join(import.meta.dir, `${name}.ts`), ...args], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "inherit", "inherit"],
  });
}

function figures(
  work: Work,
  start: Report,
  end: Report,
  cpu: { readonly server: number; readonly all: number; readonly peakMb: number },
): Figures {
  const seconds = (end.atMs - start.atMs) / 1000;
  const frames = work.lines * work.repeats;
  return {
    framesPerS: frames / seconds,
    mbPerS: (work.bytes * work.repeats) / seconds / 1e6,
    serverCpuS: (cpu.server / frames) * 1e6,
    allCpuS: (cpu.all / frames) * 1e6,
    serverPeakMb: cpu.peakMb,
  };
}

async function untilOk(url: string, init?: RequestInit): Promise<Response> {
  for (let tries = 0; ; tries++) {
    try {
      const response = await fetch(url, init);
      if (response.ok) return response;
      throw new Error(`${url}: ${response.status} ${await response.text()}`);
    } catch (error) {
      if (tries >= 500) throw error;
      await Bun.sleep(10);
    }
  }
}

/** Session → coordinator → a sink in a tracker's place. Ends when the last ack is back and the sink has every byte. */
export async function fleetRound(control: Control, work: Work): Promise<Figures> {
  control.reset();
  const dir = mkdtempSync(join(work.dir, "fleet-"));
  const config = join(dir, "coordinator.yaml");
  const sink = [process.execPath, join(import.meta.dir, "sink.ts"), "{port}"];
  writeFileSync(config, JSON.stringify({ tracker: { command: sink } }));
  const env = {
    BENCH_CONTROL_PORT: String(control.port),
    BENCH_EXPECT_BYTES: String(work.bytes * work.repeats),
    FLEET_ENROLL_TOKEN: ENROLL_TOKEN,
    FLEET_OPERATOR_TOKEN: OPERATOR_TOKEN,
  };
  const [http, frames] = freePorts(2);
  const addresses = ["--http", `127.0.0.1:${http}`, "--frames", `127.0.0.1:${frames}`];
  const flags = ["--config", config, "--data-dir", dir, "--log-level", "warn", ...addresses];
  const server = Bun.spawn([join(root, "dist/fleet-coordinator"), "serve", ...flags], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "inherit", "inherit"],
  });
  try {
    const api = `http://127.0.0.1:${http}/api/v1`;
    await untilOk(`http://127.0.0.1:${http}/healthz`);
    const hello = await register(api);
    const args = [JSON.stringify(hello), String(frames), work.file, String(work.repeats)];
    const sender = part("sender", args, env);
    const start = await control.wait("sender", "ready");
    const trackers = (await (await untilOk(`${api}/trackers`, asOperator)).json()) as {
      trackers: { pid: number }[];
    };
    const sinkPid = trackers.trackers[0]!.pid;
    const cpuBefore = cpuS(server.pid);
    const [sent, taken] = await Promise.all([
      control.wait("sender", "done"),
      control.wait("sink", "done"),
    ]);
    const serverCpu = cpuS(server.pid) - cpuBefore;
    const sinkCpu = cpuS(sinkPid);
    await sender.exited;
    const all = serverCpu + sinkCpu + usedCpuS(sender);
    const end = sent.atMs > taken.atMs ? sent : taken;
    return figures(work, start, end, { server: serverCpu, all, peakMb: peakMb(server.pid) });
  } finally {
    server.kill();
    await server.exited;
    rmSync(dir, { recursive: true, force: true });
  }
}

const asOperator: RequestInit = { headers: { Authorization: `Bearer ${OPERATOR_TOKEN}` } };

async function register(api: string): Promise<Record<string, unknown>> {
  const response = await untilOk(`${api}/agents/register`, {
    method: "POST",
    headers: {
      Authorization: `Bearer ${ENROLL_TOKEN}`,
      "Content-Type": "application/json",
      "X-Fleet-Protocol-Version": "1",
    },
    body: JSON.stringify({
      node_id: NODE,
      instance_id: "bench",
      version: "bench",
      sensors: [{ name: SENSOR, runtime: "native", mode: "stream" }],
    }),
  });
  const { access_token: token, epoch } = (await response.json()) as {
    access_token: string;
    epoch: number;
  };
  const names = { node_id: NODE, sensor: SENSOR, instance_id: "bench", spool_id: "bench" };
  return { type: "hello", protocol: 1, ...names, token, epoch, first_seq: 1 };
}

/** Publisher → nats-server → subscriber. Ends when the subscriber has every byte. */
export async function natsRound(control: Control, work: Work, nats: string): Promise<Figures> {
  control.reset();
  const [port] = freePorts(1);
  const config = join(work.dir, "nats.conf");
  // A slow moment of the subscriber must not end it: what is measured is the server passing messages on.
  writeFileSync(config, `max_pending: 1GB\nwrite_deadline: "60s"\n`);
  const server = Bun.spawn([nats, "-c", config, "-a", "127.0.0.1", "-p", String(port)], {
    stdio: ["ignore", "ignore", "ignore"],
  });
  try {
    await untilListening(port!);
    const env = {
      BENCH_CONTROL_PORT: String(control.port),
      BENCH_EXPECT_BYTES: String(deliveredBytes(work)),
    };
    const subscriber = part("nats-client", ["sub", String(port)], env);
    await control.wait("subscriber", "ready");
    const args = ["pub", String(port), work.file, String(work.repeats)];
    const publisher = part("nats-client", args, env);
    const start = await control.wait("publisher", "ready");
    const end = await control.wait("subscriber", "done");
    const serverCpu = cpuS(server.pid);
    const peak = peakMb(server.pid);
    await Promise.all([publisher.exited, subscriber.exited]);
    const all = serverCpu + usedCpuS(publisher) + usedCpuS(subscriber);
    return figures(work, start, end, { server: serverCpu, all, peakMb: peak });
  } finally {
    server.kill();
    await server.exited;
  }
}

/** What the subscriber reads: `MSG f 1 <length>`, the payload without its line end, and CRLF twice. */
function deliveredBytes(work: Work): number {
  let bytes = 0;
  for (const line of readFileSync(work.file, "utf8").split("\n")) {
    if (line !== "") bytes += `MSG f 1 ${line.length}\r\n`.length + line.length + 2;
  }
  return bytes * work.repeats;
}

function usedCpuS(process_: Bun.Subprocess): number {
  const usage = process_.resourceUsage();
  return usage === undefined ? 0 : Number(usage.cpuTime.total) / 1e6;
}

async function untilListening(port: number): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      const socket = await Bun.connect({ hostname: "127.0.0.1", port, socket: { data() {} } });
      socket.end();
      return;
    } catch (error) {
      if (tries >= 500) throw error;
      await Bun.sleep(10);
    }
  }
}

function freePorts(count: number): number[] {
  const listeners = Array.from({ length: count }, () =>
    Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } }),
  );
  const ports = listeners.map((l) => l.port);
  for (const listener of listeners) listener.stop(true);
  return ports;
}
