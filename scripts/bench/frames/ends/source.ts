/** The sending side of a round: one process with a connection for each stream. Reports `ready`, waits for `go`, reports `done`. */
import { readFileSync } from "node:fs";
import { sendReport } from "../control.ts";
import { fail, readOrders } from "./orders.ts";
import { Pump } from "./pump.ts";
import { mqttSource } from "./wires/mqtt.ts";
import { natsSource } from "./wires/nats.ts";
import { sessionSource } from "./wires/session.ts";
import { blockOf, eachFrame, type SourceEnd } from "./wires/wire.ts";

const orders = readOrders();
const { streams, repeats, controlPort } = orders;
const frames = readFileSync(orders.file);

interface Stream {
  readonly end: SourceEnd;
  readonly pump: Pump;
  socket: Bun.Socket | undefined;
  done: boolean;
}

let going = false;
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
        block: blockOf(eachFrame(frames).map((frame) => [frame, "\n"])),
        window: undefined,
        ready: true,
        acked: 0,
        read: () => undefined,
      };
  }
}

function advance(stream: Stream): void {
  const { end, pump, socket } = stream;
  if (!going || socket === undefined) return;
  const { window, acked } = end;
  if (window === undefined) pump.allowBytes(0, Infinity);
  else if ("bytes" in window) pump.allowBytes(acked, window.bytes);
  else pump.allowMessages(acked, window.messages);
  pump.pump(socket);
  if (stream.done || !(window === undefined ? pump.written : pump.isDone(acked))) return;
  stream.done = true;
  if (++doneCount === streams) void sendReport(controlPort, { part: "source", event: "done" });
}

function noteReady(): void {
  if (++readyCount < streams) return;
  void sendReport(controlPort, { part: "source", event: "ready" }).then(() => {
    going = true;
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
        isReady = stream.end.ready;
        if (isReady) noteReady();
      },
      drain: () => advance(stream),
      data(socket, chunk) {
        const answer = stream.end.read(chunk);
        if (answer !== undefined) socket.write(answer);
        if (!isReady && stream.end.ready) {
          isReady = true;
          noteReady();
        } else advance(stream);
      },
      close: () => fail(`${orders.wire} source: a connection was closed`),
    },
  });
}

const all: Stream[] = [];
for (let i = 0; i < streams; i++) {
  const end = sourceEnd(i);
  all.push({ end, pump: new Pump(end.block, repeats), socket: undefined, done: false });
}
for (const stream of all) await open(stream);
