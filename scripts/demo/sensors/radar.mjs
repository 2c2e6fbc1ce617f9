/**
 * A sensor in JavaScript for Node: prints the frames of a file, two per second, forever.
 *
 * A sensor is any program that prints one frame per line. The agent starts it, reads its output and forwards the frames:
 *
 *     sensors:
 *       - { name: radar, runtime: node, command: [radar.mjs, frames.jsonl] }
 */
import { readFileSync } from "node:fs";
import process from "node:process";

const PERIOD_MS = 500;

const lines = readFileSync(process.argv[2], "utf8").trimEnd().split("\n");
const frames = lines.map((line) => JSON.parse(line));

let next = 0;
function measure() {
  // A real sensor would measure here. This one replaces the recorded time with the current time.
  const frame = { ...frames[next++ % frames.length], timestamp: Date.now() };
  console.log(JSON.stringify(frame));
}

measure();
setInterval(measure, PERIOD_MS);

// The agent stops its sensors with SIGTERM. If the agent itself has ended, writing fails, and so does this sensor.
process.on("SIGTERM", () => process.exit(0));
process.stdout.on("error", () => process.exit(1));
