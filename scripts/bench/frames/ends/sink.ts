/**
 * The receiving side of a round: one light process for all streams. It counts what arrives and reports `ready`, `first` and
 * `done`. In place of trackers, it listens on the ports that their stand-ins (servers/coordinator.ts) send to it.
 */
import { readFileSync } from "node:fs";
import { sendReport } from "../control.ts";
import { fail, readOrders } from "./orders.ts";
import { mqttSink } from "./wires/mqtt.ts";
import { jetstreamSink, natsSink } from "./wires/nats.ts";
import type { SinkEnd } from "./wires/wire.ts";

const HOST = "127.0.0.1";

const orders = readOrders();
const { streams, repeats, controlPort } = orders;
const reportEvent = (event: "ready" | "first" | "done"): void =>
  void sendReport(controlPort, { part: "sink", event });

let received = 0;
let connected = 0;
const expectedBytes = orders.bytes * repeats * streams;

function countBytes(_socket: unknown, chunk: Buffer): void {
  if (received === 0) reportEvent("first");
  received += chunk.length;
  if (received === expectedBytes) reportEvent("done");
  else if (received > expectedBytes) fail(`${received - expectedBytes} bytes too many arrived`);
}

/** Listens on the port that a stand-in tracker sends for as long as the stand-in runs. */
function listenForTrackers(): void {
  Bun.listen<Bun.TCPSocketListener | undefined>({
    hostname: HOST,
    port: orders.sinkPort,
    socket: {
      data(socket, chunk) {
        const port = Number(chunk.toString("latin1").split(" ")[0]);
        socket.data = Bun.listen({
          hostname: HOST,
          port,
          socket: {
            open: () => {
              if (++connected === streams) reportEvent("ready");
            },
            data: countBytes,
          },
        });
      },
      close: (socket) => socket.data?.stop(true),
    },
  });
}

function listenForLines(): void {
  Bun.listen({ hostname: HOST, port: orders.sinkPort, socket: { data: countBytes } });
  reportEvent("ready");
}

function subscribe(ends: readonly SinkEnd[]): void {
  const total = ends.reduce((sum, end) => sum + end.expected, 0);
  let readyCount = 0;
  for (const end of ends) {
    let isReady = false;
    void Bun.connect({
      hostname: HOST,
      port: orders.port,
      socket: {
        open: (socket) => void socket.write(end.opening),
        data(socket, chunk) {
          const before = end.received;
          const answer = end.read(chunk);
          if (answer !== undefined) socket.write(answer);
          if (end.isReady && !isReady) {
            isReady = true;
            if (++readyCount === ends.length) reportEvent("ready");
          }
          if (received === 0 && end.received > 0) reportEvent("first");
          received += end.received - before;
          if (received >= total && before < end.received) reportEvent("done");
        },
        close: () => fail(`${orders.wire} sink: the server closed a connection`),
      },
    });
  }
}

function endOfEachStream(make: (stream: number) => SinkEnd): SinkEnd[] {
  return Array.from({ length: streams }, (_, stream) => make(stream));
}

const frames = readFileSync(orders.file);
const framesOfStream = orders.frames * repeats;
switch (orders.wire) {
  case "session":
    listenForTrackers();
    break;
  case "lines":
    listenForLines();
    break;
  case "nats":
    subscribe(endOfEachStream((stream) => natsSink(stream, frames, repeats)));
    break;
  case "mqtt":
    subscribe(endOfEachStream((stream) => mqttSink(stream, framesOfStream)));
    break;
  case "jetstream":
    subscribe([jetstreamSink(framesOfStream * streams)]);
    break;
}
