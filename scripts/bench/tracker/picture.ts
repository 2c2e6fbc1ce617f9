/**
 * Draws tracks over detections: `bun scripts/bench/tracker/picture.ts FRAMES.jsonl FROM_S TO_S > tracker.svg` runs
 * fleet-tracker on the file and draws this part of it, delay and Doppler over time. Detections are grey; each track is a line
 * in its own colour.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../lib/root.ts";
import { track } from "./run.ts";
import type { ScoredFrame } from "./score.ts";

const WIDTH = 1000;
const PANEL_HEIGHT = 380;
const MARGIN = { left: 56, right: 24, top: 14, bottom: 40 };
/** Colours that are distinguishable with red-green colour blindness. */
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#6a3d9a"];

/** A detection: seconds since the first frame, km and Hz. */
interface Point {
  readonly timeS: number;
  readonly delay: number;
  readonly doppler: number;
}

type Quantity = "delay" | "doppler";

/** One panel: a quantity over time. */
class Panel {
  readonly #of: Quantity;
  readonly #top: number;
  readonly #fromS: number;
  readonly #toS: number;
  readonly #least: number;
  readonly #most: number;

  constructor(of: Quantity, top: number, points: readonly Point[], fromS: number, toS: number) {
    this.#of = of;
    this.#top = top;
    this.#fromS = fromS;
    this.#toS = toS;
    this.#least = Math.min(...points.map((point) => point[of]));
    this.#most = Math.max(...points.map((point) => point[of]));
  }

  #x(timeS: number): number {
    const share = (timeS - this.#fromS) / (this.#toS - this.#fromS);
    return MARGIN.left + share * (WIDTH - MARGIN.left - MARGIN.right);
  }

  #y(value: number): number {
    const share = (value - this.#least) / (this.#most - this.#least);
    return this.#top + MARGIN.top + (1 - share) * (PANEL_HEIGHT - MARGIN.top - MARGIN.bottom);
  }

  #at(point: Point): string {
    return `${this.#x(point.timeS).toFixed(0)} ${this.#y(point[this.#of]).toFixed(1)}`;
  }

  dots(points: readonly Point[]): string {
    const path = points.map((point) => `M${this.#at(point)}h0`).join("");
    return `<path d="${path}" stroke="#aaa" stroke-width="2.6" stroke-linecap="round"/>`;
  }

  line(points: readonly Point[], colour: string): string {
    const path = points.map((point) => this.#at(point)).join("L");
    return `<path d="M${path}" fill="none" stroke="${colour}" stroke-width="2" stroke-linejoin="round"/>`;
  }

  axes(title: string): string {
    const [left, right] = [MARGIN.left, WIDTH - MARGIN.right];
    const parts = [`<text x="4" y="${this.#top + 11}">${title}</text>`];
    const step = this.#of === "delay" ? 20 : 100;
    for (let v = Math.ceil(this.#least / step) * step; v <= this.#most; v += step) {
      const y = this.#y(v).toFixed(1);
      parts.push(`<path d="M${left} ${y}H${right}" stroke="#ddd"/>`);
      parts.push(`<text x="${left - 6}" y="${y}" dy="4" text-anchor="end">${v}</text>`);
    }
    const bottom = this.#top + PANEL_HEIGHT - MARGIN.bottom + 18;
    for (let s = Math.ceil(this.#fromS / 20) * 20; s <= this.#toS; s += 20) {
      const x = this.#x(s).toFixed(0);
      parts.push(`<text x="${x}" y="${bottom}" text-anchor="middle">${s} s</text>`);
    }
    return parts.join("");
  }
}

const [path, from = "0", to = "120"] = process.argv.slice(2);
if (path === undefined) throw new Error("usage: picture.ts FRAMES.jsonl [FROM_S] [TO_S]");
const [fromS, toS] = [Number(from), Number(to)];
const input = readFileSync(path);
const frames = input
  .toString()
  .trimEnd()
  .split("\n")
  .map((line) => JSON.parse(line) as ScoredFrame);
const startMs = frames[0]!.timestamp;
const secondsOf = (timestamp: number): number => (timestamp - startMs) / 1000;
const isShown = ({ timeS }: Point): boolean => timeS >= fromS && timeS <= toS;

const all = frames
  .flatMap(({ timestamp, delay, doppler }) =>
    delay.map((km, i) => ({ timeS: secondsOf(timestamp), delay: km, doppler: doppler[i]! })),
  )
  .filter(isShown);
const { events } = await track([process.execPath, join(root, "apps/tracker/src/main.ts")], input);
const tracks = new Map<string, Map<number, Point>>();
for (const line of events.trimEnd().split("\n")) {
  const event = JSON.parse(line) as {
    readonly track_id: string;
    readonly detections: readonly { timestamp: number; delay: number; doppler: number }[];
  };
  const points = tracks.get(event.track_id) ?? new Map<number, Point>();
  for (const { timestamp, delay, doppler } of event.detections) {
    points.set(timestamp, { timeS: secondsOf(timestamp), delay, doppler });
  }
  tracks.set(event.track_id, points);
}
const shown = [...tracks.values()]
  .map((points) => [...points.values()].filter(isShown))
  .filter((points) => points.length > 1);

const panels = [
  [new Panel("delay", 0, all, fromS, toS), "delay, km"],
  [new Panel("doppler", PANEL_HEIGHT, all, fromS, toS), "Doppler, Hz"],
] as const;
const body = panels.flatMap(([panel, title]) => [
  panel.axes(title),
  panel.dots(all),
  ...shown.map((points, index) => panel.line(points, COLOURS[index % COLOURS.length]!)),
]);
console.log(
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${2 * PANEL_HEIGHT}" font-family="sans-serif" font-size="13">` +
    `<rect width="100%" height="100%" fill="#fff"/>${body.join("\n")}</svg>`,
);
