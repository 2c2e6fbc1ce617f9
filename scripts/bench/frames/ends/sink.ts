/**
 * The receiving side of a round: one process for all streams, as light as can be. It counts what comes and reports `ready`,
 * `first` and `done`. In the place of trackers it listens on the ports that their stand-ins (coordinator.ts) name to it.
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
const tell = (event: "ready" | "first" | "done"): void =>
  void sendReport(controlPort, { part: "sink", event });

let received = 0;
let connected = 0;
const expectedBytes = orders.bytes * repeats * streams;

function countBytes(_socket: unknown, chunk: Buffer): void {
  if (received === 0) tell("first");
  received += chunk.length;
  if (received === expectedBytes) tell("done");
  else if (received > expectedBytes) fail(`${received - expectedBytes} bytes too many came`);
}

/** The port that a stand-in names is ours for as long as the stand-in lives. */
function inPlaceOfTrackers(): void {
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
              if (++connected === streams) tell("ready");
            },
            data: countBytes,
          },
        });
      },
      close: (socket) => socket.data?.stop(true),
    },
  });
}

function lines(): void {
  Bun.listen({ hostname: HOST, port: orders.sinkPort, socket: { data: countBytes } });
  tell("ready");
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
          if (end.ready && !isReady) {
            isReady = true;
            if (++readyCount === ends.length) tell("ready");
          }
          if (received === 0 && end.received > 0) tell("first");
          received += end.received - before;
          if (received >= total && before < end.received) tell("done");
        },
        close: () => fail(`${orders.wire} sink: a connection was closed`),
      },
    });
  }
}

function all(make: (stream: number) => SinkEnd): SinkEnd[] {
  return Array.from({ length: streams }, (_, stream) => make(stream));
}

const frames = readFileSync(orders.file);
const framesOfStream = orders.frames * repeats;
switch (orders.wire) {
  case "session":
    inPlaceOfTrackers();
    break;
  case "lines":
    lines();
    break;
  case "nats":
    subscribe(all((stream) => natsSink(stream, frames, repeats)));
    break;
  case "mqtt":
    subscribe(all((stream) => mqttSink(stream, framesOfStream)));
    break;
  case "jetstream":
    subscribe([jetstreamSink(framesOfStream * streams)]);
    break;
}
