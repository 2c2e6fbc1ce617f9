/** Sections `agent` and `drain`: frames from a sensor's stdout through a persistent queue to a tracker's socket. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Control } from "../control.ts";
import { type Route, type RouteKind, ROUTES } from "./routes.ts";
import type { Orders } from "../ends/orders.ts";
import { cpuS, end, peakMb, resetPeak, writtenMb } from "../../shared/processes.ts";
import { alternate, beginRound, startPart } from "../round.ts";
import { type Sample, sampleLines } from "../sample.ts";
import { median, spread, table } from "../../shared/figures.ts";

const ROUNDS = 3;
const BLOCK_BYTES = 8 * 1024 * 1024;
const AGENT_BYTES = 320 * 1024 * 1024;
const BACKLOG_FRAMES = 1_000_000;

interface Figures {
  readonly framesPerS: number;
  /** Seconds per million frames. */
  readonly edgeCpuS: number;
  readonly serverCpuS: number;
  readonly edgePeakMb: number;
  readonly serverPeakMb: number;
  readonly edgeWrittenMb: number;
}

interface Work {
  readonly lines: readonly string[];
  readonly repeats: number;
}

/** Section `agent`: the sensor prints as fast as it is read, and the server is always reachable. */
export async function benchAgent(
  control: Control,
  dir: string,
  samples: readonly Sample[],
  short: boolean,
): Promise<void> {
  console.log("\n== agent: sensor's stdout → spool → server → tracker's socket");
  printPromises();
  for (const sample of samples) {
    const bytes = AGENT_BYTES * (short ? 0.1 : 1);
    const lines = sampleLines(sample, Math.min(bytes, BLOCK_BYTES));
    const blockBytes = lines.reduce((sum, line) => sum + line.length, 0);
    const work = { lines, repeats: Math.max(1, Math.round(bytes / blockBytes)) };
    console.log(`\n${sample.name}, ${lines.length * work.repeats} frames`);
    await compareRoutes(short, (kind) => edgeRound(control, dir, kind, work, false));
  }
}

/** Section `drain`: the sensor prints its frames while the server is down. Time counts from the first frame that arrives. */
export async function benchDrain(
  control: Control,
  dir: string,
  sample: Sample,
  short: boolean,
): Promise<void> {
  const frames = short ? BACKLOG_FRAMES / 10 : BACKLOG_FRAMES;
  console.log(`\n== drain: a backlog of ${frames} frames of ${sample.name}`);
  printPromises();
  const work = { lines: sampleLines(sample, Infinity, frames / 10), repeats: 10 };
  await compareRoutes(short, (kind) => edgeRound(control, dir, kind, work, true));
}

function printPromises(): void {
  for (const r of ROUTES)
    console.log(`${r.name} (${r.version ?? "NOT INSTALLED, left out"}): ${r.promises}`);
}

async function compareRoutes(
  short: boolean,
  round: (kind: RouteKind) => Promise<Figures>,
): Promise<void> {
  const present = ROUTES.filter((r) => r.version !== undefined);
  const figures = await alternate(present, short ? 1 : ROUNDS, round);
  const head = ["", "k frames/s", "edge CPU s/M", "server CPU s/M", "edge peak MB"];
  head.push("server peak MB", "edge wrote MB", "fleet is … × as fast");
  const rows = present.map((kind, at) => {
    const of = (pick: (f: Figures) => number, digits = 0): string =>
      median(figures[at]!.map(pick)).toFixed(digits);
    const ratios = figures[at]!.map((f, i) => figures[0]![i]!.framesPerS / f.framesPerS);
    return [
      kind.name,
      of((f) => f.framesPerS / 1000),
      of((f) => f.edgeCpuS, 2),
      of((f) => f.serverCpuS, 2),
      of((f) => f.edgePeakMb),
      of((f) => f.serverPeakMb),
      of((f) => f.edgeWrittenMb),
      at === 0 ? "" : spread(ratios),
    ];
  });
  console.log(table([head, ...rows]));
}

async function edgeRound(
  control: Control,
  dir: string,
  kind: RouteKind,
  work: Work,
  isDrain: boolean,
): Promise<Figures> {
  const { dir: own, sinkPort } = beginRound(control, dir);
  const file = join(own, "frames");
  const text = work.lines.join("");
  writeFileSync(file, text);
  const isFleet = kind === ROUTES[0];
  const orders: Orders = {
    controlPort: control.port,
    wire: isFleet ? "session" : "lines",
    port: 0,
    sinkPort,
    streams: 1,
    file,
    frames: work.lines.length,
    bytes: text.length,
    repeats: work.repeats,
    hellos: [],
  };
  const sink = startPart(control, "sink", own, orders);
  let route: Route | undefined;
  try {
    route = await kind.open(own, sinkPort, { ...orders });
    await Promise.all([control.wait("sensor", "ready"), control.wait("sink", "ready")]);
    const frames = work.lines.length * work.repeats;
    return await (isDrain ? drain(control, route, frames) : pass(control, route, frames));
  } finally {
    await route?.close();
    await end([sink], "SIGKILL");
  }
}

async function pass(control: Control, route: Route, frames: number): Promise<Figures> {
  return figuresOf(control, route, frames, () => Promise.resolve(control.go()));
}

async function drain(control: Control, route: Route, frames: number): Promise<Figures> {
  await route.stopServer();
  control.go();
  await control.wait("sensor", "done");
  return figuresOf(control, route, frames, async () => {
    await route.startServer();
    return (await control.wait("sink", "first")).atMs;
  });
}

/** Measures from the time that `begin` returns until the sink has received everything. */
async function figuresOf(
  control: Control,
  route: Route,
  frames: number,
  begin: () => Promise<number>,
): Promise<Figures> {
  const { edgePid } = route;
  resetPeak(edgePid);
  const edgeBefore = cpuS(edgePid);
  const wroteBefore = writtenMb(edgePid);
  const startMs = await begin();
  const serverPid = route.serverPid();
  const serverBefore = cpuS(serverPid);
  const done = await control.wait("sink", "done");
  return {
    framesPerS: frames / ((done.atMs - startMs) / 1000),
    edgeCpuS: ((cpuS(edgePid) - edgeBefore) / frames) * 1e6,
    serverCpuS: ((cpuS(serverPid) - serverBefore) / frames) * 1e6,
    edgePeakMb: peakMb(edgePid),
    serverPeakMb: peakMb(serverPid),
    edgeWrittenMb: writtenMb(edgePid) - wroteBefore,
  };
}
