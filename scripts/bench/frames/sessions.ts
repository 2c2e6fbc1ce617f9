/**
 * Section `sessions`: frames from senders to receivers through each server, over 1 and over 100 streams, with the same frames
 * for all. Rounds alternate between the servers, so that a slow moment of the machine affects all of them.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Control } from "./control.ts";
import type { Orders } from "./ends/orders.ts";
import { cpuS, end, peakMb } from "../shared/processes.ts";
import { alternate, beginRound, startPart } from "./round.ts";
import { type Sample, sampleLines } from "./sample.ts";
import { type Contender, CONTENDERS } from "./servers/servers.ts";
import { aimOfRatio, median, spread, table } from "../shared/figures.ts";

const STREAMS = [1, 100] as const;
const ROUNDS = 5;
const WORK_BYTES = 640 * 1024 * 1024;
/** Size of the block of frames that is sent repeatedly. */
const BLOCK_BYTES = 8 * 1024 * 1024;

interface Figures {
  readonly framesPerS: number;
  readonly mbPerS: number;
  /** Seconds per million frames. */
  readonly serverCpuS: number;
  readonly allCpuS: number;
  readonly serverPeakMb: number;
}

/** Runs the section and prints it. */
export async function benchSessions(
  control: Control,
  dir: string,
  samples: readonly Sample[],
  short: boolean,
): Promise<void> {
  const rounds = short ? 1 : ROUNDS;
  const present = CONTENDERS.filter((c) => c.version !== undefined);
  console.log("\n== sessions: source → server → tracker's socket");
  for (const c of CONTENDERS)
    console.log(`${c.name} (${c.version ?? "NOT INSTALLED, left out"}): ${c.promises}`);
  for (const sample of samples) {
    for (const streams of STREAMS) {
      const figures = await alternate(present, rounds, (contender) => {
        const workBytes = WORK_BYTES * contender.share * (short ? 0.1 : 1);
        return runRound(control, dir, contender, sample, streams, workBytes);
      });
      print(sample, streams, present, figures);
    }
  }
}

/** Returns the frames each stream sends, and how often. All streams together send about `workBytes`. */
function workOf(
  sample: Sample,
  streams: number,
  workBytes: number,
): { text: string; repeats: number; frames: number } {
  const perStream = workBytes / streams;
  const lines = sampleLines(sample, Math.min(perStream, BLOCK_BYTES));
  const text = lines.join("");
  const repeats = Math.max(1, Math.round(perStream / text.length));
  return { text, repeats, frames: lines.length };
}

async function runRound(
  control: Control,
  dir: string,
  contender: Contender,
  sample: Sample,
  streams: number,
  workBytes: number,
): Promise<Figures> {
  const { dir: own, sinkPort } = beginRound(control, dir);
  const { text, repeats, frames } = workOf(sample, streams, workBytes);
  const file = join(own, "frames");
  writeFileSync(file, text);
  const server = await contender.start(own, sinkPort, streams);
  let sink: Bun.Subprocess | undefined;
  let source: Bun.Subprocess | undefined;
  try {
    const orders: Orders = {
      controlPort: control.port,
      wire: contender.wire,
      port: server.port,
      sinkPort,
      streams,
      file,
      frames,
      bytes: text.length,
      repeats,
      hellos: server.hellos,
    };
    sink = startPart(control, "sink", own, orders);
    // Trackers start only once their stream has a source. A subscriber must be there before the first message.
    if (contender.wire !== "session") await control.wait("sink", "ready");
    source = startPart(control, "source", own, orders);
    await Promise.all([control.wait("source", "ready"), control.wait("sink", "ready")]);
    const pids = [server.pid, source.pid, sink.pid] as const;
    const before = pids.map(cpuS);
    const startMs = control.go();
    const ends = await Promise.all([control.wait("source", "done"), control.wait("sink", "done")]);
    const used = pids.map((pid, i) => cpuS(pid) - before[i]!);
    const seconds = (Math.max(...ends.map((e) => e.atMs)) - startMs) / 1000;
    const total = frames * repeats * streams;
    return {
      framesPerS: total / seconds,
      mbPerS: (text.length * repeats * streams) / seconds / 1e6,
      serverCpuS: (used[0]! / total) * 1e6,
      allCpuS: (used.reduce((a, b) => a + b) / total) * 1e6,
      serverPeakMb: peakMb(server.pid),
    };
  } finally {
    await end([source, sink], "SIGKILL");
    await server.stop();
  }
}

function print(
  sample: Sample,
  streams: number,
  present: readonly Contender[],
  figures: readonly (readonly Figures[])[],
): void {
  const ours = figures[0]!;
  const ratios = (i: number): number[] =>
    figures[i]!.map((f, round) => ours[round]!.framesPerS / f.framesPerS);
  console.log(
    `\n${sample.name}, ${streams} ${streams === 1 ? "stream" : "streams"}, ${ours.length} rounds`,
  );
  const head = [
    "",
    "k frames/s",
    "MB/s",
    "server CPU s/M",
    "all CPU s/M",
    "server peak MB",
    "fleet is … × as fast",
  ];
  const rows = present.map((contender, i) => {
    const of = (pick: (f: Figures) => number): number => median(figures[i]!.map(pick));
    return [
      contender.name,
      (of((f) => f.framesPerS) / 1000).toFixed(0),
      of((f) => f.mbPerS).toFixed(0),
      of((f) => f.serverCpuS).toFixed(2),
      of((f) => f.allCpuS).toFixed(2),
      of((f) => f.serverPeakMb).toFixed(0),
      i === 0 ? "" : spread(ratios(i)),
    ];
  });
  console.log(table([head, ...rows]));
  const aims: readonly (readonly [Contender["wire"], number])[] = [
    ["nats", sample.natsAim],
    ["mqtt", 5],
    ["jetstream", 3],
  ];
  for (const [wire, least] of aims) {
    const i = present.findIndex((c) => c.wire === wire);
    if (i >= 0) console.log(aimOfRatio(`beside ${present[i]!.name}`, median(ratios(i)), least));
  }
}
