/**
 * How good and how fast fleet-tracker is: `bun scripts/bench/tracker.ts [--data DIR] [--runs N] [--command "…"]`.
 * Sends each `radar*.jsonl` of DIR (default `../shared/data` beside the repository) over TCP, all at once, scores the
 * events with DIR's `score.py`, and prints each figure next to the public tracker's (`baseline.json`). Frames per
 * second are the best of N runs (default 3), from the first byte sent to the last byte of events. `--command` measures
 * another tracker with the same command line; the default is fleet-tracker from source.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { ensureInstalled } from "../lib/install.ts";
import { root } from "../lib/root.ts";

/** The figures of `score.py` and `baseline.json` that are printed. */
interface Score {
  readonly frames: number;
  readonly covered_targets: number;
  readonly truth_targets: number;
  readonly confirmed_tracks: number;
  readonly false_tracks: number;
  readonly id_switches: number;
  readonly tracks_per_covered_target: number;
  readonly confirm_latency_s_median: number;
  readonly time_coverage: number;
  readonly detections_not_in_frames: number;
  readonly frames_per_s: number;
}

const HOST = "127.0.0.1";
const START_MS_MAX = 5000;

/** Sends `frames` to a new tracker; gives its events and how long it took. */
async function track(command: readonly string[], frames: Buffer) {
  const port = await freePort();
  const child = Bun.spawn(
    [...command, "--tcp", "--tcp-host", HOST, "--tcp-port", String(port), "-s", "-"],
    { stdin: "ignore", stdout: "pipe", stderr: "pipe" },
  );
  const socket = await connectTo(port);
  const startMs = performance.now();
  let endMs = startMs;
  const chunks: Uint8Array[] = [];
  const read = (async () => {
    for await (const chunk of child.stdout) {
      chunks.push(chunk);
      endMs = performance.now();
    }
  })();
  socket.end(frames);
  await once(socket, "close");
  child.kill("SIGTERM");
  await read;
  const report = await child.stderr.text();
  if ((await child.exited) !== 0) throw new Error(`the tracker failed: ${report}`);
  return { events: Buffer.concat(chunks), seconds: (endMs - startMs) / 1000 };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, HOST);
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

/** Connects as soon as someone listens. */
async function connectTo(port: number): Promise<Socket> {
  const giveUpMs = performance.now() + START_MS_MAX;
  for (;;) {
    const socket = connect(port, HOST);
    const connected = await new Promise<boolean>((done) => {
      socket.once("connect", () => done(true));
      socket.once("error", () => done(false));
    });
    if (connected) return socket;
    if (performance.now() > giveUpMs) throw new Error("the tracker does not listen");
    await Bun.sleep(2);
  }
}

/** What `score.py` says of `events`. */
async function score(dir: string, node: string, events: Buffer, seconds: number): Promise<Score> {
  const scratch = mkdtempSync(join(tmpdir(), "bench-tracker-"));
  const tracks = join(scratch, `${node}.jsonl`);
  writeFileSync(tracks, events);
  const child = Bun.spawn(
    ["python3", "score.py", `${node}.jsonl`, "truth.json", tracks, "--wall", String(seconds)],
    { cwd: dir, stdin: "ignore", stdout: "pipe", stderr: "inherit" },
  );
  const text = await child.stdout.text();
  rmSync(scratch, { recursive: true });
  if ((await child.exited) !== 0) throw new Error("score.py failed");
  return JSON.parse(text) as Score;
}

const COLUMNS: readonly (readonly [string, (score: Score) => string])[] = [
  ["covered", (s) => `${s.covered_targets}/${s.truth_targets}`],
  ["time cov.", (s) => s.time_coverage.toFixed(3)],
  ["tracks", (s) => String(s.confirmed_tracks)],
  ["false", (s) => String(s.false_tracks)],
  ["switches", (s) => String(s.id_switches)],
  ["per target", (s) => s.tracks_per_covered_target.toFixed(2)],
  ["confirm s", (s) => s.confirm_latency_s_median.toFixed(1)],
  ["altered", (s) => String(s.detections_not_in_frames)],
  ["frames/s", (s) => s.frames_per_s.toFixed(0)],
];

function print(name: string, cells: readonly string[]): void {
  const padded = cells.map((cell) => cell.padStart(10));
  process.stdout.write(`${name.padEnd(18)}${padded.join("")}\n`);
}

/** The sums over all files, and the frames per second of all of them together. */
function total(scores: readonly Score[]): Score {
  const sum = (of: (one: Score) => number): number =>
    scores.reduce((before, one) => before + of(one), 0);
  const frames = sum((s) => s.frames);
  const covered = sum((s) => s.covered_targets);
  const latencies = scores.map((s) => s.confirm_latency_s_median);
  return {
    frames,
    covered_targets: covered,
    truth_targets: sum((s) => s.truth_targets),
    confirmed_tracks: sum((s) => s.confirmed_tracks),
    false_tracks: sum((s) => s.false_tracks),
    id_switches: sum((s) => s.id_switches),
    tracks_per_covered_target:
      sum((s) => s.tracks_per_covered_target * s.covered_targets) / covered,
    confirm_latency_s_median: latencies.toSorted((a, b) => a - b)[latencies.length >> 1] ?? 0,
    time_coverage: sum((s) => s.time_coverage) / scores.length,
    detections_not_in_frames: sum((s) => s.detections_not_in_frames),
    frames_per_s: frames / sum((s) => s.frames / s.frames_per_s),
  };
}

await ensureInstalled();
const { values } = parseArgs({
  options: {
    data: { type: "string", default: join(root, "..", "shared", "data") },
    runs: { type: "string", default: "3" },
    command: { type: "string" },
  },
});
const data = resolve(values.data);
const command = values.command?.split(" ") ?? [
  process.execPath,
  join(root, "apps/tracker/src/main.ts"),
];
const baseline = JSON.parse(readFileSync(join(data, "baseline.json"), "utf8")) as {
  readonly nodes: Readonly<Record<string, Score>>;
};
const nodes = readdirSync(data)
  .map((file) => /^(radar\d+)\.jsonl$/.exec(file)?.[1])
  .filter((node) => node !== undefined)
  .toSorted();

print(
  "",
  COLUMNS.map(([name]) => name),
);
const ours: Score[] = [];
const theirs: Score[] = [];
for (const node of nodes) {
  const frames = readFileSync(join(data, `${node}.jsonl`));
  let best = await track(command, frames);
  for (let run = 1; run < Number(values.runs); run++) {
    const next = await track(command, frames);
    if (next.seconds < best.seconds) best = next;
  }
  const result = await score(data, node, best.events, best.seconds);
  ours.push(result);
  print(
    node,
    COLUMNS.map(([, cell]) => cell(result)),
  );
  const reference = baseline.nodes[node];
  if (reference === undefined) continue;
  theirs.push(reference);
  print(
    "  public tracker",
    COLUMNS.map(([, cell]) => cell(reference)),
  );
}
for (const [name, scores] of [
  ["all", ours],
  ["  public tracker", theirs],
] as const) {
  if (scores.length === 0) continue;
  const sums = total(scores);
  print(
    name,
    COLUMNS.map(([, cell]) => cell(sums)),
  );
}
