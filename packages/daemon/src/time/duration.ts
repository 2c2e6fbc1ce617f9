/** Parses durations and sizes in configs: `30s`, `5m`, `64MiB`. */

const UNIT_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const UNIT_BYTES = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3, TiB: 1024 ** 4 } as const;
const DURATION = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/;
const SIZE = /^(\d+(?:\.\d+)?)(B|KiB|MiB|GiB|TiB)$/;

/** `"30s"` → 30 000 ms, an integer; units ms, s, m, h, d. Undefined unless it is a duration below 2^53 ms. */
export function parseDurationMs(text: string): number | undefined {
  const match = DURATION.exec(text);
  if (match === null) return undefined;
  return exact(Number(match[1]) * UNIT_MS[match[2] as keyof typeof UNIT_MS]);
}

/** `"64MiB"` → 67 108 864 bytes, an integer; units B, KiB, MiB, GiB, TiB. Undefined unless it is a size below 2^53 bytes. */
export function parseBytes(text: string): number | undefined {
  const match = SIZE.exec(text);
  if (match === null) return undefined;
  return exact(Number(match[1]) * UNIT_BYTES[match[2] as keyof typeof UNIT_BYTES]);
}

function exact(value: number): number | undefined {
  const rounded = Math.round(value);
  return Number.isSafeInteger(rounded) ? rounded : undefined;
}
