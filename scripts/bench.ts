/**
 * `bun run bench [NAME…] [--short] [--data DIR] [--root DIR]`: measures beside public peers, in one run, as ratios. With no name, all.
 *
 *   detect    knowing the image, beside the version commands of its interpreters, alone and one after the other
 *   frames    one agent session to a tracker's socket, beside nats-server
 *   static    a static fleet-agent beside the same one linked dynamically: start, memory, size
 *   tracker   fleet-tracker on frames with ground truth, beside the public retina-tracker's figures
 *
 * `--short` takes a tenth of the work, to see that it runs; `--data` is where frames with ground truth lie; `--root`
 * is the image that `detect` looks at.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ensureInstalled } from "./lib/install.ts";
import { root } from "./lib/root.ts";

const BENCHES = ["detect", "frames", "static", "tracker"] as const;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    short: { type: "boolean", default: false },
    data: { type: "string", default: join(root, "../shared/data") },
    root: { type: "string" },
  },
});
const unknown = positionals.filter((name) => !BENCHES.some((b) => b === name));
if (unknown.length > 0) {
  console.error(`bench: no bench is called ${unknown.join(", ")}; there are ${BENCHES.join(", ")}`);
  process.exit(64);
}

await ensureInstalled();
const wanted = positionals.length > 0 ? positionals : BENCHES;
let failed = false;
for (const name of wanted) {
  const args = [
    ...(values.short ? ["--short"] : []),
    ...(existsSync(values.data) ? ["--data", values.data] : []),
    ...(name === "detect" && values.root !== undefined ? ["--root", values.root] : []),
  ];
  const child = Bun.spawn([process.execPath, join(root, `scripts/bench/${name}.ts`), ...args], {
    stdio: ["ignore", "inherit", "inherit"],
  });
  failed = (await child.exited) !== 0 || failed;
}
process.exit(failed ? 1 : 0);
