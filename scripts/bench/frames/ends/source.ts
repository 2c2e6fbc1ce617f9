/** The sending side of a round: a process with one connection per stream. Reports `ready`, waits for `go`, reports `done`. */
import { readFileSync } from "node:fs";
import { sendReport } from "../control.ts";
import { fail, readOrders } from "./orders.ts";
import { Pump } from "./pump.ts";
import { mqttSource } from "./wires/mqtt.ts";
import { natsSource } from "./wires/nats.ts";
import { sessionSource } from "./wires/session.ts";
import { blockOf, splitFrames, type SourceEnd } from "./wires/wire.ts";

const orders = readOrders();
const { streams, repeats, controlPort } = orders;
const frames = readFileSync(orders.file);

interface Stream {
  readonly end: SourceEnd;
  readonly pump: Pump;
  socket: Bun.Socket | undefined;
  isDone: boolean;
}

let isGoing = false;
let readyCount = 0;
let doneCount = 0;

function sourceEnd(stream: number): SourceEnd {
  switch (orders.wire) {
    case "session":
      return sessionSource(orders.hellos[stream]!, frames);
    case "nats":
      return natsSource(stream, frames);
    case "jetstream":
      return natsSource(stream, frames, streams);
    case "mqtt":
      return mqttSource(stream, frames, streams);
    case "lines":
      return {
        opening: "",
        block: blockOf(splitFrames(frames).map((frame) => [frame, "\n"])),
        window: undefined,
        isReady: true,
        acked: 0,
        read: () => undefined,
      };
  }
}

function advance(stream: Stream): void {
  const { end, pump, socket } = stream;
  if (!isGoing || socket === undefined) return;
  const { window, acked } = end;
  if (window === undefined) pump.allowBytes(0, Infinity);
  else if ("bytes" in window) pump.allowBytes(acked, window.bytes);
  else pump.allowMessages(acked, window.messages);
  pump.pump(socket);
  if (stream.isDone || !(window === undefined ? pump.isWritten : pump.isDone(acked))) return;
  stream.isDone = true;
  if (++doneCount === streams) void sendReport(controlPort, { part: "source", event: "done" });
}

function noteReady(): void {
  if (++readyCount < streams) return;
  void sendReport(controlPort, { part: "source", event: "ready" }).then(() => {
    isGoing = true;
    for (const stream of all) advance(stream);
  });
}

async function open(stream: Stream): Promise<void> {
  let isReady = false;
  await Bun.connect({
    hostname: "127.0.0.1",
    port: orders.port,
    socket: {
      open(socket) {
        stream.socket = socket;
        socket.write(stream.end.opening);
        isReady = stream.end.isReady;
        if (isReady) noteReady();
      },
      drain: () => advance(stream),
      data(socket, chunk) {
        const answer = stream.end.read(chunk);
        if (answer !== undefined) socket.write(answer);
        if (!isReady && stream.end.isReady) {
          isReady = true;
          noteReady();
        } else advance(stream);
      },
      close: () => fail(`${orders.wire} source: the server closed a connection`),
    },
  });
}

const all: Stream[] = [];
for (let i = 0; i < streams; i++) {
  const end = sourceEnd(i);
  all.push({ end, pump: new Pump(end.block, repeats), socket: undefined, isDone: false });
}
for (const stream of all) await open(stream);
