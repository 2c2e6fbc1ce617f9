/**
 * An agent's end of one session, as light as can be: hello, frames within the window, done when the last one is
 * acknowledged. Arguments: the hello line, the frame port, a file of frames, how many times to send it.
 */
import { readFileSync } from "node:fs";
import { report } from "./control.ts";

const [hello, port, file, repeats] = process.argv.slice(2) as [string, string, string, string];
const block = readFileSync(file);
const ends = lineEnds(block);
const framesPerBlock = ends.length;
const frames = framesPerBlock * Number(repeats);

let windowBytes = 0;
let sentBlocks = 0;
let offset = 0;
let ackedBytes = 0;
let text = "";

function lineEnds(bytes: Buffer): readonly number[] {
  const found: number[] = [];
  for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, at + 1)) found.push(at + 1);
  return found;
}

/** How many bytes the first `seq` frames take on the wire. */
function bytesUpTo(seq: number): number {
  const last = seq % framesPerBlock;
  return Math.floor(seq / framesPerBlock) * block.length + (last === 0 ? 0 : ends[last - 1]!);
}

function pump(socket: Bun.Socket): void {
  while (sentBlocks < Number(repeats)) {
    const inFlight = sentBlocks * block.length + offset - ackedBytes;
    const end = Math.min(block.length, offset + windowBytes - inFlight);
    if (end <= offset) return;
    const written = socket.write(block, offset, end - offset);
    if (written <= 0) return;
    offset += written;
    if (offset < end) return;
    if (offset === block.length) {
      offset = 0;
      sentBlocks++;
    }
  }
}

function answer(socket: Bun.Socket, line: string): void {
  const message = JSON.parse(line) as { type: string; window_bytes?: number; seq?: number };
  if (message.type === "welcome") {
    windowBytes = message.window_bytes!;
    void report("sender", "ready").then(() => pump(socket));
  } else if (message.type === "ack") {
    ackedBytes = bytesUpTo(message.seq!);
    if (message.seq === frames) void report("sender", "done").then(() => process.exit(0));
    else pump(socket);
  } else {
    console.error(`bench sender: unexpected ${line}`);
    process.exit(1);
  }
}

await Bun.connect({
  hostname: "127.0.0.1",
  port: Number(port),
  socket: {
    open: (socket) => void socket.write(`${hello}\n`),
    drain: (socket) => pump(socket),
    data(socket, chunk) {
      text += chunk.toString("utf8");
      const lines = text.split("\n");
      text = lines.pop()!;
      for (const line of lines) answer(socket, line);
    },
    close() {
      console.error("bench sender: the connection was closed");
      process.exit(1);
    },
  },
});
