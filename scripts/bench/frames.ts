/**
 * `bun run bench frames`: frames through one agent session to a tracker's socket, each checked and acknowledged, beside
 * the same bytes through nats-server from one publisher to one subscriber (core NATS: neither checked nor acknowledged).
 * Both ends of either are equally light Bun processes. Rounds alternate; medians are printed.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { buildBinaries } from "../lib/build-binaries.ts";
import { Control } from "./frames/control.ts";
import { type Figures, fleetRound, natsRound, type Work } from "./frames/rounds.ts";

const DATA_FILES = ["radar1.jsonl", "radar2.jsonl", "radar3.jsonl", "radar4.jsonl"];
const SMALL_FRAME =
  '{"timestamp":1783500000000,"delay":[4.08,68.31,75.1,12.11],"doppler":[-5.75,180.57,-82.52,11.2],"snr":[23.02,4.25,6.2,1.1],"adsb":[null,null,null,null]}\n';
const BLOCK_BYTES = 1024 * 1024;
const WORK_BYTES = 640 * 1024 * 1024;
const ROUNDS = 5;

const { values } = parseArgs({
  options: { short: { type: "boolean", default: false }, data: { type: "string" } },
});
const rounds = values.short ? 1 : ROUNDS;
const workBytes = values.short ? WORK_BYTES / 10 : WORK_BYTES;

function blocks(): { name: string; frames: string }[] {
  const small = SMALL_FRAME.repeat(Math.ceil(BLOCK_BYTES / SMALL_FRAME.length));
  const found = [{ name: `${SMALL_FRAME.length} B`, frames: small }];
  const { data } = values;
  if (data === undefined) return found;
  const files = DATA_FILES.map((f) => join(data, f)).filter((f) => existsSync(f));
  const all = files.map((f) => readFileSync(f, "utf8")).join("");
  if (all !== "") found.push({ name: "radar data", frames: all });
  return found;
}

function median(values_: readonly number[]): number {
  return values_.toSorted((a, b) => a - b)[Math.floor(values_.length / 2)]!;
}

function row(name: string, figures: readonly Figures[]): string {
  const of = (pick: (f: Figures) => number): number => median(figures.map(pick));
  const rate = of((f) => f.framesPerS);
  return [
    name.padEnd(22),
    `${(rate / 1000).toFixed(0).padStart(6)} k frames/s`,
    `${of((f) => f.mbPerS)
      .toFixed(0)
      .padStart(5)} MB/s`,
    `server ${of((f) => f.serverCpuS).toFixed(2)} CPU s per million`,
    `all parts ${of((f) => f.allCpuS).toFixed(2)}`,
    `server peak ${of((f) => f.serverPeakMb).toFixed(0)} MB`,
  ].join("   ");
}

await buildBinaries(["fleet-coordinator"]);
const nats = Bun.which("nats-server") ?? Bun.which("nats-server", { PATH: "/usr/sbin:/usr/bin" });
if (nats === null) console.log("nats-server is not installed (Debian: nats-server): no ratio.");
const dir = mkdtempSync(join(tmpdir(), "fleet-bench-"));
const control = new Control();
try {
  for (const { name, frames } of blocks()) {
    const file = join(dir, "frames");
    writeFileSync(file, frames);
    const lines = frames.split("\n").length - 1;
    const repeats = Math.max(1, Math.ceil(workBytes / frames.length));
    const work: Work = { dir, file, lines, bytes: frames.length, repeats };
    const mean = Math.round(frames.length / lines);
    console.log(`\n${name}: ${lines * repeats} frames, ${mean} B on average, ${rounds} rounds`);
    const ours: Figures[] = [];
    const theirs: Figures[] = [];
    for (let round = 0; round < rounds; round++) {
      ours.push(await fleetRound(control, work));
      if (nats !== null) theirs.push(await natsRound(control, work, nats));
    }
    console.log(row("fleet, checked, acked", ours));
    if (nats === null) continue;
    console.log(row("nats core pub → sub", theirs));
    const ratios = ours.map((f, i) => f.framesPerS / theirs[i]!.framesPerS);
    console.log(`ratio ${median(ratios).toFixed(2)} × nats-server (median of ${rounds} pairs)`);
  }
} finally {
  control.close();
  rmSync(dir, { recursive: true, force: true });
}
