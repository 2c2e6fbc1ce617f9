/**
 * Both ends of the latency bench in one process, so that one clock times a frame's way. It sends one frame of each stream per
 * period, evenly spread, and records when each arrives at the other end. Reports `ready`, waits for `go`, and reports `done`
 * with p50, p99 and the maximum in ms, and the number of frames timed.
 */
import { readFileSync } from "node:fs";
import { sendReport } from "../control.ts";
import { fail } from "../ends/orders.ts";
import type { LatencyOrders } from "./latency.ts";
import { quantile } from "../../shared/figures.ts";
import { natsSource } from "../ends/wires/nats.ts";
import { sessionSource } from "../ends/wires/session.ts";

const HOST = "127.0.0.1";
const TICK_MS = 1;
/** Time for the last frames to arrive. */
const LAST_FRAMES_MS = 1000;
/** The coordinator closes a session that is silent for 30 s. (docs/protocol.md) */
const KEEPALIVE_MS = 10_000;
const KEEPALIVE = '{"type":"skip","to":1}\n';

const orders = JSON.parse(readFileSync(process.argv[2]!, "utf8")) as LatencyOrders;
const { streams, periodMs, periods, hellos } = orders;
const frame = Buffer.from(orders.frame);
const sources: Bun.Socket[] = [];
/** The send times of each stream's frames in flight: one at a time, unless a frame takes longer than a period. */
const sentMs = Array.from({ length: streams }, (): number[] => []);
const tookMs: number[] = [];
/** Connections that the server has not accepted yet: a source and a sink for each stream. */
let waitingEnds = 2 * streams;
const allReady = Promise.withResolvers<void>();

function noteReady(): void {
  if (--waitingEnds === 0) allReady.resolve();
}

function recordArrival(stream: number, nowMs: number): void {
  const sent = sentMs[stream]!.shift();
  if (sent !== undefined) tookMs.push(nowMs - sent);
}

/** Counts the frames of a stream by their length alone. */
function frameCounter(stream: number, frameBytes: number): (chunk: Buffer) => void {
  let bytes = 0;
  return (chunk) => {
    const nowMs = performance.now();
    for (bytes += chunk.length; bytes >= frameBytes; bytes -= frameBytes)
      recordArrival(stream, nowMs);
  };
}

/** Keeps a session open until all are ready, because hundreds of trackers take a while to start. */
function keepAlive(socket: Bun.Socket): void {
  const timer = setInterval(() => socket.write(KEEPALIVE), KEEPALIVE_MS);
  void allReady.promise.then(() => clearInterval(timer));
}

async function connectSources(): Promise<readonly Uint8Array[]> {
  const ends = Array.from({ length: streams }, (_, i) =>
    orders.wire === "nats" ? natsSource(i, frame) : sessionSource(hellos[i]!, frame),
  );
  for (const [i, end] of ends.entries()) {
    let isReady = false;
    const ready = Promise.withResolvers<void>();
    sources[i] = await Bun.connect({
      hostname: HOST,
      port: orders.port,
      socket: {
        open: (socket) => void socket.write(end.opening),
        data(socket, chunk) {
          const answer = end.read(chunk);
          if (answer !== undefined) socket.write(answer);
          if (end.isReady && !isReady) {
            noteReady();
            ready.resolve();
            if (orders.wire === "session") keepAlive(socket);
          }
          isReady = end.isReady;
        },
        close: () => fail("latency: the server closed a source's connection"),
      },
    });
    sources[i].setNoDelay(true);
    // One after another: a server that starts hundreds of trackers at once may answer the last hello too late.
    await ready.promise;
  }
  return ends.map((end) => end.block.bytes);
}

async function subscribe(): Promise<void> {
  for (let i = 0; i < streams; i++) {
    const count = frameCounter(i, `MSG f.${i} 1 ${frame.length - 1}\r\n`.length + frame.length + 1);
    let isReady = false;
    await Bun.connect({
      hostname: HOST,
      port: orders.port,
      socket: {
        open: (socket) =>
          void socket.write(`CONNECT {"verbose":false}\r\nSUB f.${i} 1\r\nPING\r\n`),
        data(_socket, chunk) {
          if (isReady) count(chunk);
          else if (chunk.includes("PONG")) {
            isReady = true;
            noteReady();
          }
        },
        close: () => fail("latency: the server closed a subscriber's connection"),
      },
    });
  }
}

/** Listens for the stand-in trackers, which report their port and stream, and takes their place. */
function listenForTrackers(): void {
  const names = new Map(
    hellos.map((h, i) => {
      const { node_id, sensor } = h as { node_id: string; sensor: string };
      return [`${node_id}.${sensor}`, i];
    }),
  );
  Bun.listen({
    hostname: HOST,
    port: orders.sinkPort,
    socket: {
      data(_socket, chunk) {
        const [port, name] = chunk.toString("latin1").split(" ") as [string, string];
        const count = frameCounter(names.get(name)!, frame.length);
        Bun.listen({
          hostname: HOST,
          port: Number(port),
          socket: { open: noteReady, data: (_s, bytes) => count(bytes) },
        });
      },
    },
  });
}

/** Sends one frame of each stream per period, in turn. A late tick catches up. */
async function send(messages: readonly Uint8Array[]): Promise<void> {
  const startMs = performance.now();
  const total = streams * periods;
  for (let sent = 0; sent < total; await Bun.sleep(TICK_MS)) {
    const due = Math.min(total, ((performance.now() - startMs) / periodMs) * streams);
    for (; sent < due; sent++) {
      const stream = sent % streams;
      sentMs[stream]!.push(performance.now());
      sources[stream]!.write(messages[stream]!);
    }
  }
  await Bun.sleep(LAST_FRAMES_MS);
}

if (orders.wire === "nats") await subscribe();
else listenForTrackers();
const messages = await connectSources();
await allReady.promise;
await sendReport(orders.controlPort, { part: "latency", event: "ready" });
await send(messages);
const lost = streams * periods - tookMs.length;
if (lost !== 0) fail(`latency: ${lost} frames did not arrive`);
const sorted = tookMs.toSorted((a, b) => a - b);
const figures = [quantile(sorted, 0.5), quantile(sorted, 0.99), sorted.at(-1)!, sorted.length];
await sendReport(orders.controlPort, { part: "latency", event: "done", figures });
