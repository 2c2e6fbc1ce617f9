/**
 * `bun run bench frames [sessions|agent|drain|latency …]`: measures the frame path beside public servers. Both ends of every
 * server are equally light Bun processes. Rounds alternate between the servers, and the result is the median of the ratios.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { buildBinaries } from "../lib/build-binaries.ts";
import { Control } from "./frames/control.ts";
import { benchAgent, benchDrain } from "./frames/edge/edge-round.ts";
import { benchLatency } from "./frames/latency/latency.ts";
import type { Sample } from "./frames/sample.ts";
import { FRAMES_SECTIONS } from "./frames/section-names.ts";
import { benchSessions } from "./frames/sessions.ts";

const DATA_FILES = ["radar1.jsonl", "radar2.jsonl", "radar3.jsonl", "radar4.jsonl"];
const SMALL_FRAME =
  '{"timestamp":1783500000000,"delay":[4.08,68.31,75.1,12.11],"doppler":[-5.75,180.57,-82.52,11.2],"snr":[23.02,4.25,6.2,1.1],"adsb":[null,null,null,null]}\n';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { short: { type: "boolean", default: false }, data: { type: "string" } },
});
const sections: readonly string[] = positionals.length > 0 ? positionals : FRAMES_SECTIONS;

const small: Sample = { name: `${SMALL_FRAME.length} B`, lines: [SMALL_FRAME], natsAim: 1.5 };

/** Reads the recorded frames, one of each radar in turn, so that any part of them resembles the whole. */
function radarSample(dir: string): Sample | undefined {
  const files = DATA_FILES.map((f) => join(dir, f)).filter((f) => existsSync(f));
  const radars = files.map((f) => readFileSync(f, "latin1").split(/(?<=\n)/));
  const most = Math.max(0, ...radars.map((lines) => lines.length));
  const lines = Array.from({ length: most }, (_, i) => radars.flatMap((r) => r[i] ?? [])).flat();
  if (lines.length === 0) return undefined;
  const mean = Math.round(lines.reduce((sum, l) => sum + l.length, 0) / lines.length);
  return { name: `radar data (${mean} B on average)`, lines, natsAim: 1 };
}

await buildBinaries(["fleet-coordinator", "fleet-agent"]);
const dir = mkdtempSync(join(tmpdir(), "fleet-bench-"));
const control = new Control();
try {
  const radar = values.data === undefined ? undefined : radarSample(values.data);
  const samples = radar === undefined ? [small] : [small, radar];
  if (sections.includes("sessions")) await benchSessions(control, dir, samples, values.short);
  if (sections.includes("agent")) await benchAgent(control, dir, samples, values.short);
  if (sections.includes("drain")) await benchDrain(control, dir, small, values.short);
  if (sections.includes("latency")) await benchLatency(control, dir, small, values.short);
} finally {
  control.close();
  rmSync(dir, { recursive: true, force: true });
}
