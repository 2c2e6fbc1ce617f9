/** The agent's end of a session: hello, frames within the window, acks. (docs/protocol.md) */
import { fail } from "../orders.ts";
import { blockOf, splitFrames, type SourceEnd } from "./wire.ts";

/** Sends the frames of one stream. */
export function sessionSource(hello: object, frames: Buffer): SourceEnd {
  let text = "";
  const end: SourceEnd = {
    opening: `${JSON.stringify(hello)}\n`,
    block: blockOf(splitFrames(frames).map((frame) => [frame, "\n"])),
    window: undefined,
    isReady: false,
    acked: 0,
    read(chunk) {
      text += chunk.toString("latin1");
      const lines = text.split("\n");
      text = lines.pop()!;
      for (const line of lines) take(line);
      return undefined;
    },
  };
  function take(line: string): void {
    const message = JSON.parse(line) as { type: string; window_bytes?: number; seq?: number };
    if (message.type === "welcome") {
      end.window = { bytes: message.window_bytes! };
      end.isReady = true;
    } else if (message.type === "ack") end.acked = message.seq!;
    else fail(`unexpected message in a session: ${line}`);
  }
  return end;
}
