/** The frames that benches send. */

/** Frames of one kind, as lines. */
export interface Sample {
  readonly name: string;
  readonly lines: readonly string[];
  /** What DESIGN §9 wants beside nats core. */
  readonly natsAim: number;
}

/** A prime: frames are taken from all over the sample, so that any number of them is like the whole. */
const STRIDE = 7919;

/** Frames of at least `bytes` in all, or `count` of them. */
export function sampleLines(sample: Sample, bytes: number, count = Infinity): string[] {
  const lines: string[] = [];
  let sum = 0;
  while (sum < bytes && lines.length < count) {
    const line = sample.lines[(lines.length * STRIDE) % sample.lines.length]!;
    lines.push(line);
    sum += line.length;
  }
  return lines;
}
