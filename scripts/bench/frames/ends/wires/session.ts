/** An agent's end of one session: hello, frames within the window, acks. (docs/protocol.md) */
import { fail } from "../orders.ts";
import { blockOf, eachFrame, type SourceEnd } from "./wire.ts";

export function sessionSource(hello: object, frames: Buffer): SourceEnd {
  let text = "";
  const end: SourceEnd = {
    opening: `${JSON.stringify(hello)}\n`,
    block: blockOf(eachFrame(frames).map((frame) => [frame, "\n"])),
    window: undefined,
    ready: false,
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
    const said = JSON.parse(line) as { type: string; window_bytes?: number; seq?: number };
    if (said.type === "welcome") {
      end.window = { bytes: said.window_bytes! };
      end.ready = true;
    } else if (said.type === "ack") end.acked = said.seq!;
    else fail(`a session was told ${line}`);
  }
  return end;
}
