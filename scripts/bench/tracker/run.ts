/** Runs a tracker with retina-tracker's command line on a set of frames. Used by the tracker bench and its tests. */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

const HOST = "127.0.0.1";
const START_MS_MAX = 5000;

/** The result of a run. */
export interface Run {
  /** JSONL. */
  readonly events: string;
  /** Time from the first byte sent to the last byte of events. */
  readonly seconds: number;
}

const RESET = Buffer.from('{"type":"RESET"}\n');

/** Sends `frames` (JSONL) to a new tracker, all at once, and collects its events. */
export async function track(command: readonly string[], frames: Uint8Array): Promise<Run> {
  const chunks: Uint8Array[] = [];
  const seconds = await run(command, frames, (chunk) => chunks.push(chunk));
  return { events: Buffer.concat(chunks).toString(), seconds };
}

/** Sends the same frames `times` times, each time after a RESET. Returns the seconds taken. */
export function trackRepeatedly(
  command: readonly string[],
  frames: Uint8Array,
  times: number,
): Promise<number> {
  const all = Array.from({ length: times }, () => [RESET, frames]).flat();
  return run(command, Buffer.concat(all), () => {});
}

async function run(
  command: readonly string[],
  frames: Uint8Array,
  onEvents: (chunk: Uint8Array) => void,
): Promise<number> {
  const port = await freePort();
  const child = Bun.spawn(
    [...command, "--tcp", "--tcp-host", HOST, "--tcp-port", String(port), "-s", "-"],
    { stdin: "ignore", stdout: "pipe", stderr: "pipe" },
  );
  const socket = await connectTo(port);
  const startMs = performance.now();
  let endMs = startMs;
  const read = (async () => {
    for await (const chunk of child.stdout) {
      onEvents(chunk);
      endMs = performance.now();
    }
  })();
  socket.end(frames);
  await once(socket, "close");
  child.kill("SIGTERM");
  await read;
  const report = await child.stderr.text();
  if ((await child.exited) !== 0) throw new Error(`the tracker failed: ${report}`);
  return (endMs - startMs) / 1000;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, HOST);
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("the server has no port");
  return address.port;
}

/** Connects as soon as something listens on the port. */
async function connectTo(port: number): Promise<Socket> {
  const giveUpMs = performance.now() + START_MS_MAX;
  for (;;) {
    const socket = connect(port, HOST);
    const connected = await new Promise<boolean>((done) => {
      socket.once("connect", () => done(true));
      socket.once("error", () => done(false));
    });
    if (connected) return socket;
    if (performance.now() > giveUpMs)
      throw new Error(`the tracker did not listen within ${START_MS_MAX / 1000} s`);
    await Bun.sleep(2);
  }
}
