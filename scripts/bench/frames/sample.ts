/** Frames of one kind, as lines, for the benches to send. */
export interface Sample {
  readonly name: string;
  readonly lines: readonly string[];
  /** The aim: at least this many times the frames per second of nats core. */
  readonly natsAim: number;
}

/** A prime, so that frames are taken from all over the sample and any number of them resembles the whole. */
const STRIDE = 7919;

/** Returns frames of at least `bytes` in total, but at most `count` of them. */
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
