/** A dummy tracker. Arguments: PORT FILE. Appends every line of input to FILE, and prints an event for each chunk. */
import { appendFileSync } from "node:fs";

const [port, file] = process.argv.slice(2) as [string, string];

Bun.listen<{ rest: string }>({
  hostname: "127.0.0.1",
  port: Number(port),
  socket: {
    open(socket) {
      socket.data = { rest: "" };
    },
    data(socket, chunk) {
      const text = socket.data.rest + chunk.toString("utf8");
      const end = text.lastIndexOf("\n") + 1;
      socket.data.rest = text.slice(end);
      appendFileSync(file, text.slice(0, end));
      process.stdout.write(`{"track_id":"t","length":1,"detections":[]}\n`);
    },
  },
});
