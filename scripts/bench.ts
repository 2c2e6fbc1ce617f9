/**
 * `bun run bench [NAME…] [--short] [--data DIR] [--root DIR]`: measures beside public peers, in one run, as ratios. With no name, all.
 *
 *   detect    knowing the image, beside the version commands of its interpreters, alone and one after the other
 *   frames    the frame path beside nats-server, JetStream, mosquitto and rsyslog; `sessions`, `agent`, `drain` or `latency`
 *             after it runs that section alone
 *   herd      10 000 agents on one coordinator, and its restart, beside mosquitto's clients and etcd's leases
 *   static    a static fleet-agent beside the same one linked dynamically: start, memory, size
 *   tracker   fleet-tracker on frames with ground truth, beside the public retina-tracker's figures
 *
 * `--short` takes a tenth of the work, to see that it runs; `--data` is where frames with ground truth lie; `--root`
 * is the image that `detect` looks at.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { FRAMES_SECTIONS } from "./bench/frames/section-names.ts";
import { ensureInstalled } from "./lib/install.ts";
import { root } from "./lib/root.ts";

const BENCHES = ["detect", "frames", "herd", "static", "tracker"] as const;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    short: { type: "boolean", default: false },
    data: { type: "string", default: join(root, "../shared/data") },
    root: { type: "string" },
  },
});
const isBench = (name: string): boolean => BENCHES.some((b) => b === name);
const isSection = (name: string): boolean => FRAMES_SECTIONS.some((s) => s === name);
const sections = positionals.includes("frames") ? positionals.filter(isSection) : [];
const unknown = positionals.filter((name) => !isBench(name) && !sections.includes(name));
if (unknown.length > 0) {
  console.error(`bench: no bench is called ${unknown.join(", ")}; there are ${BENCHES.join(", ")}`);
  process.exit(64);
}

await ensureInstalled();
const wanted = positionals.length > 0 ? positionals.filter(isBench) : BENCHES;
let failed = false;
for (const name of wanted) {
  const args = [
    ...(values.short ? ["--short"] : []),
    ...(existsSync(values.data) ? ["--data", values.data] : []),
    ...(name === "frames" ? sections : []),
    ...(name === "detect" && values.root !== undefined ? ["--root", values.root] : []),
  ];
  const child = Bun.spawn([process.execPath, join(root, `scripts/bench/${name}.ts`), ...args], {
    stdio: ["ignore", "inherit", "inherit"],
  });
  failed = (await child.exited) !== 0 || failed;
}
process.exit(failed ? 1 : 0);
