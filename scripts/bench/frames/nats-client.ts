/**
 * A publisher or a subscriber of the NATS client protocol (docs.nats.io, "Client Protocol"), as light as can be, so that
 * the server is what is measured: the publisher sends ready-made PUB messages, the subscriber counts bytes.
 * Arguments: `pub` or `sub`, the port, and for `pub` a file of frames and how many times to send it.
 */
import { readFileSync } from "node:fs";
import { report } from "./control.ts";

const SUBJECT = "f";
const [role, port, file, repeats] = process.argv.slice(2) as [string, string, string, string];

/** Frames as PUB messages; a frame's line end is not part of its message. */
function asMessages(frames: Buffer): Buffer {
  const parts: Uint8Array[] = [];
  let start = 0;
  for (let at = frames.indexOf(10); at >= 0; at = frames.indexOf(10, start)) {
    const head = Buffer.from(`PUB ${SUBJECT} ${at - start}\r\n`);
    parts.push(head, frames.subarray(start, at), Buffer.from("\r\n"));
    start = at + 1;
  }
  return Buffer.concat(parts);
}

function publish(): void {
  const block = asMessages(readFileSync(file));
  let sent = 0;
  let offset = 0;
  let started = false;
  const pump = (socket: Bun.Socket): void => {
    while (sent < Number(repeats)) {
      const written = socket.write(block, offset, block.length - offset);
      if (written <= 0) return;
      offset += written;
      if (offset < block.length) return;
      offset = 0;
      sent++;
    }
    if (sent === Number(repeats)) {
      sent++;
      socket.write("PING\r\n");
    }
  };
  connect((socket, text) => {
    if (!started && text.startsWith("INFO")) {
      started = true;
      socket.write('CONNECT {"verbose":false,"pedantic":false}\r\n');
      void report("publisher", "ready").then(() => pump(socket));
    } else if (text.includes("PONG")) void report("publisher", "done").then(() => process.exit(0));
    else pump(socket);
  }, pump);
}

function subscribe(): void {
  const expected = Number(process.env["BENCH_EXPECT_BYTES"]);
  let bytes = 0;
  let started = false;
  let ready = false;
  connect((socket, text, length) => {
    if (!started) {
      started = true;
      socket.write(`CONNECT {"verbose":false,"pedantic":false}\r\nSUB ${SUBJECT} 1\r\nPING\r\n`);
    } else if (!ready) {
      if (!text.includes("PONG")) return;
      ready = true;
      void report("subscriber", "ready");
    } else {
      bytes += length;
      if (bytes >= expected) void report("subscriber", "done").then(() => process.exit(0));
    }
  });
}

function connect(
  onData: (socket: Bun.Socket, text: string, length: number) => void,
  onDrain: (socket: Bun.Socket) => void = () => {},
): void {
  const head = 64;
  void Bun.connect({
    hostname: "127.0.0.1",
    port: Number(port),
    socket: {
      data(socket, chunk) {
        if (chunk.length === 6 && chunk.toString("latin1") === "PING\r\n") socket.write("PONG\r\n");
        onData(socket, chunk.toString("latin1", 0, head), chunk.length);
      },
      drain: onDrain,
      close() {
        console.error(`bench ${role}: the connection was closed`);
        process.exit(1);
      },
    },
  });
}

if (role === "pub") publish();
else subscribe();
