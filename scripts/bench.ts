/** `bun run bench`: runs benches, each a program in `bench/`, one after another. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { FRAMES_SECTIONS } from "./bench/frames/section-names.ts";
import { ensureInstalled } from "./lib/install.ts";
import { root } from "./lib/root.ts";

const BENCHES = ["detect", "frames", "herd", "static", "tracker"] as const;
const EXIT_USAGE = 64;
const USAGE = `usage: bun run bench [NAME…] [--short] [--data DIR] [--root DIR]

Measures Fleet beside comparable public programs in the same run, and prints ratios. Without a NAME, runs all benches:

  detect    detection of an image's runtimes, beside the version commands of its interpreters
  frames    the frame path, beside nats-server, JetStream, mosquitto and rsyslog; to run single sections, add their
            names: ${FRAMES_SECTIONS.join(", ")}
  herd      10 000 agents on one coordinator and its restart, beside mosquitto and etcd
  static    fleet-agent linked statically, beside the same program linked dynamically: start, memory, size
  tracker   fleet-tracker on frames with ground truth, beside the public retina-tracker's figures

  --short     do about a tenth of the work, to see that a bench runs
  --data DIR  directory of recorded frames with ground truth (default ../shared/data), if there is any
  --root DIR  root of the image that detect examines (needs root)
  --help      print this help
`;

const { values, positionals } = readArgs();
if (values.help) {
  process.stdout.write(USAGE);
  process.exit(0);
}
const isBench = (name: string): boolean => BENCHES.some((b) => b === name);
const isSection = (name: string): boolean => FRAMES_SECTIONS.some((s) => s === name);
const sections = positionals.includes("frames") ? positionals.filter(isSection) : [];
const unknown = positionals.filter((name) => !isBench(name) && !sections.includes(name));
if (unknown.length > 0) failUsage(`unknown name: ${unknown.join(", ")}`);

await ensureInstalled();
const wanted = positionals.length > 0 ? positionals.filter(isBench) : BENCHES;
let hasFailed = false;
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
  hasFailed = (await child.exited) !== 0 || hasFailed;
}
process.exit(hasFailed ? 1 : 0);

function readArgs() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        short: { type: "boolean", default: false },
        data: { type: "string", default: join(root, "../shared/data") },
        root: { type: "string" },
        help: { type: "boolean", short: "h", default: false },
      },
    });
  } catch (error) {
    return failUsage((error as Error).message);
  }
}

function failUsage(problem: string): never {
  process.stderr.write(`bench: ${problem}\n\n${USAGE}`);
  process.exit(EXIT_USAGE);
}
