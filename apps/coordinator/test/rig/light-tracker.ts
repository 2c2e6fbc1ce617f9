/**
 * A dummy tracker for tests. Arguments: PORT FILE [MODE]. Appends its pid and every line of input to FILE, and prints an event
 * for each line. Modes: `deaf` never reads, `mute` never listens, `exits` exits at once with a message on stderr, `floods`
 * prints endlessly, `hangs-up` closes every connection, `stubborn` ignores SIGTERM, `dies-of-7` exits at a frame of time 7.
 */
import { appendFileSync } from "node:fs";
import { argv, pid, stderr, stdout } from "node:process";

const [port, file, mode] = argv.slice(2) as [string, string, string | undefined];
const PAD = "x".repeat(10_000);

appendFileSync(file, `start ${pid}\n`);
if (mode === "exits") {
  stderr.write("cannot open the antenna\n");
  process.exit(3);
}
if (mode === "stubborn") process.on("SIGTERM", () => appendFileSync(file, "term\n"));

let rest = "";
if (mode === "mute") process.stdin.resume();
else {
  Bun.listen({
    hostname: "127.0.0.1",
    port: Number(port),
    socket: {
      open(socket) {
        appendFileSync(file, "client\n");
        if (mode === "deaf") socket.pause();
        if (mode === "hangs-up") socket.end();
      },
      data(_socket, chunk) {
        const lines = (rest + chunk.toString("utf8")).split("\n");
        rest = lines.pop()!;
        for (const line of lines) {
          appendFileSync(file, `${line}\n`);
          const { timestamp } = JSON.parse(line) as { timestamp: number };
          stdout.write(`{"track_id":"t${timestamp}","timestamp":${timestamp},"length":1}\n`);
          if (mode === "dies-of-7" && timestamp === 7) process.exit(7);
        }
      },
    },
  });
}

/** Writes as fast as the output is read. */
function flood(): void {
  while (stdout.write(`{"track_id":"flood","pad":"${PAD}"}\nnoise\n`));
  stdout.once("drain", flood);
}
if (mode === "floods") flood();
if (mode === "mute") await new Promise(() => {});
