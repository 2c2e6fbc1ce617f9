/** Draws the return of a herd after a kill of the coordinator: requests by outcome, and the share of agents that are back. */
import type { Outcome, Sample } from "./member.ts";

const WIDTH = 860;
const HEIGHT = 340;
const MARGIN = { left: 64, right: 64, top: 34, bottom: 44 };
const BAR_MS = 100;
const COLOURS: Readonly<Record<Outcome, string>> = {
  ok: "#2f7ed8",
  lost: "#c8c8c8",
  refused: "#e8a33d",
  server_error: "#c0392b",
};
const NAMES: Readonly<Record<Outcome, string>> = {
  ok: "answered",
  lost: "no answer",
  refused: "refused",
  server_error: "5xx",
};
const OUTCOMES = ["lost", "ok", "refused", "server_error"] as const;

/** Returns an SVG of `samples` after the kill at `killedMs`. `backMs` holds the sorted times at which agents were back. */
export function outagePicture(
  samples: readonly Sample[],
  backMs: readonly number[],
  killedMs: number,
): string {
  const endMs = Math.max(backMs.at(-1)!, killedMs + BAR_MS * 10);
  const bars = Array.from({ length: Math.ceil((endMs - killedMs) / BAR_MS) }, () => ({
    ok: 0,
    lost: 0,
    refused: 0,
    server_error: 0,
  }));
  for (const { atMs, ms, outcome } of samples) {
    const bar = bars[Math.floor((atMs + ms - killedMs) / BAR_MS)];
    if (bar !== undefined) bar[outcome]++;
  }
  const most = Math.max(1, ...bars.map((b) => b.ok + b.lost + b.refused + b.server_error));
  const [innerW, innerH] = [
    WIDTH - MARGIN.left - MARGIN.right,
    HEIGHT - MARGIN.top - MARGIN.bottom,
  ];
  const x = (ms: number): number => MARGIN.left + ((ms - killedMs) / (endMs - killedMs)) * innerW;
  const y = (share: number): number => MARGIN.top + (1 - share) * innerH;
  const parts: string[] = [];
  for (const [i, bar] of bars.entries()) {
    let below = 0;
    for (const outcome of OUTCOMES) {
      const count = bar[outcome];
      if (count === 0) continue;
      const left = x(killedMs + i * BAR_MS);
      const width = Math.max(1, x(killedMs + (i + 1) * BAR_MS) - left - 1);
      const [top, bottom] = [y((below + count) / most), y(below / most)];
      parts.push(
        `<rect x="${left.toFixed(1)}" y="${top.toFixed(1)}" width="${width.toFixed(1)}" height="${(bottom - top).toFixed(1)}" fill="${COLOURS[outcome]}"/>`,
      );
      below += count;
    }
  }
  const steps = 200;
  const points = Array.from({ length: steps + 1 }, (_, i) => {
    const atMs = killedMs + ((endMs - killedMs) * i) / steps;
    const back = backMs.filter((ms) => ms <= atMs).length / backMs.length;
    return `${x(atMs).toFixed(1)},${y(back).toFixed(1)}`;
  });
  parts.push(
    `<polyline points="${points.join(" ")}" fill="none" stroke="#1e8449" stroke-width="2"/>`,
  );
  return svg([...parts, ...axes(most, backMs.length, endMs - killedMs, x, y, killedMs)]);
}

function axes(
  most: number,
  agents: number,
  spanMs: number,
  x: (ms: number) => number,
  y: (share: number) => number,
  killedMs: number,
): string[] {
  const parts = [0, 0.5, 1].flatMap((share) => [
    text(MARGIN.left - 6, y(share) + 4, String(Math.round(most * share)), "end"),
    text(WIDTH - MARGIN.right + 6, y(share) + 4, String(Math.round(agents * share)), "start"),
  ]);
  const stepMs = spanMs > 12_000 ? 5000 : spanMs > 4000 ? 1000 : 500;
  for (let ms = 0; ms <= spanMs; ms += stepMs)
    parts.push(text(x(killedMs + ms), HEIGHT - MARGIN.bottom + 18, `${ms / 1000} s`, "middle"));
  parts.push(
    text(WIDTH / 2, HEIGHT - 6, "time since the coordinator was killed", "middle"),
    text(MARGIN.left - 50, MARGIN.top - 16, `requests in ${BAR_MS} ms:`, "start"),
    text(WIDTH - MARGIN.right + 50, MARGIN.top - 16, "agents back", "end", "#1e8449"),
  );
  let left = MARGIN.left + 90;
  for (const outcome of OUTCOMES) {
    parts.push(text(left, MARGIN.top - 16, NAMES[outcome], "start", COLOURS[outcome]));
    left += 90;
  }
  return parts;
}

function text(x: number, y: number, what: string, anchor: string, colour = "#444"): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}" fill="${colour}">${what}</text>`;
}

function svg(parts: readonly string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>`,
    ...parts,
    "</svg>\n",
  ].join("\n");
}
