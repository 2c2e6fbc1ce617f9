/** Section `latency`: the time a frame takes from a session to its tracker's socket, with many slow streams, beside nats core. */
import type { Control } from "../control.ts";
import { cpuS, end, peakMb } from "../../shared/processes.ts";
import { alternate, beginRound, startPart } from "../round.ts";
import type { Sample } from "../sample.ts";
import { type Contender, CONTENDERS } from "../servers/servers.ts";
import { median, table } from "../../shared/figures.ts";

const STREAMS = 500;
const PERIOD_MS = 500;
const ROUNDS = 3;
const PERIODS = 30;
const PERIODS_SHORT = 6;
/** The first session waits until the last of the stand-in trackers, a shell each, has started. */
const READY_LIMIT_MS = 60_000;

/** The orders of the driver. */
export interface LatencyOrders {
  readonly controlPort: number;
  readonly wire: Contender["wire"];
  readonly port: number;
  readonly sinkPort: number;
  readonly streams: number;
  readonly hellos: readonly object[];
  /** One line, with its LF. */
  readonly frame: string;
  /** Each stream sends one frame a period. */
  readonly periodMs: number;
  readonly periods: number;
}

type Figures = readonly [
  p50Ms: number,
  p99Ms: number,
  longestMs: number,
  corePercent: number,
  peakMb: number,
];

/** Runs the section and prints it. */
export async function benchLatency(
  control: Control,
  dir: string,
  sample: Sample,
  short: boolean,
): Promise<void> {
  const present = CONTENDERS.filter(
    (c) => (c.wire === "session" || c.wire === "nats") && c.version !== undefined,
  );
  const figures = await alternate(present, short ? 1 : ROUNDS, (contender) =>
    latencyRound(control, dir, contender, sample, short),
  );
  console.log(
    `\n== latency: source → server → tracker's socket, ${STREAMS} streams of ${1000 / PERIOD_MS} frames/s each, ${sample.name}`,
  );
  const head = ["", "p50 ms", "p99 ms", "longest ms", "server % of a core", "server peak MB"];
  const digits = [3, 3, 1, 1, 0];
  const rows = present.map((contender, i) => [
    contender.name,
    ...digits.map((d, at) => median(figures[i]!.map((f) => f[at]!)).toFixed(d)),
  ]);
  console.log(table([head, ...rows]));
}

async function latencyRound(
  control: Control,
  dir: string,
  contender: Contender,
  sample: Sample,
  short: boolean,
): Promise<Figures> {
  const { dir: own, sinkPort } = beginRound(control, dir);
  const server = await contender.start(own, sinkPort, STREAMS);
  let driver: Bun.Subprocess | undefined;
  try {
    const orders: LatencyOrders = {
      controlPort: control.port,
      wire: contender.wire,
      port: server.port,
      sinkPort,
      streams: STREAMS,
      hellos: server.hellos,
      frame: sample.lines[0]!,
      periodMs: PERIOD_MS,
      periods: short ? PERIODS_SHORT : PERIODS,
    };
    driver = startPart(control, "latency-driver", own, orders);
    await control.wait("latency", "ready", READY_LIMIT_MS);
    const cpuBefore = cpuS(server.pid);
    const startMs = control.go();
    const done = await control.wait("latency", "done");
    const corePercent = ((cpuS(server.pid) - cpuBefore) / (done.atMs - startMs)) * 1000 * 100;
    const [p50, p99, longest] = done.figures as [number, number, number];
    return [p50, p99, longest, corePercent, peakMb(server.pid)];
  } finally {
    await end([driver], "SIGKILL");
    await server.stop();
  }
}
