/**
 * A sensor in JavaScript for Node: prints the frames of a file, two a second, for ever.
 *
 * A sensor is any program that prints one frame a line. The agent starts it, reads what it prints and sends that on:
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
  // This is where a real sensor would measure; this one says that what was recorded happens now.
  const frame = { ...frames[next++ % frames.length], timestamp: Date.now() };
  console.log(JSON.stringify(frame));
}

measure();
setInterval(measure, PERIOD_MS);

// The agent ends its sensors with SIGTERM. When it is gone itself, there is nobody left to measure for.
process.on("SIGTERM", () => process.exit(0));
process.stdout.on("error", () => process.exit(1));
