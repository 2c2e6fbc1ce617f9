/** Values as people write them in config files and flags: `30s`, `64MiB`, `0.0.0.0:7701`. Used by every app's config schema. */

const UNIT_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const UNIT_BYTES = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3, TiB: 1024 ** 4 } as const;
const DURATION = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/;
const SIZE = /^(\d+(?:\.\d+)?)(B|KiB|MiB|GiB|TiB)$/;
const HOST_PORT = /^(?:\[([0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|([A-Za-z0-9][A-Za-z0-9._-]*)):(\d{1,5})$/;
const PORT_MAX = 65_535;

/** The value of a setting, or the reason why it can't be used, which completes "KEY: …". */
export type Parsed<T> =
  | { readonly at: "ok"; readonly value: T }
  | { readonly at: "bad"; readonly problem: string };

/** An address to listen on or connect to. An IPv6 address is without brackets. */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

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

/** A parser of durations from `min` to `max`, both written as such (`"10ms"`, `"7d"`). The value is in ms. */
export function durationBetween(min: string, max?: string): (text: string) => Parsed<number> {
  const problem = `must be a duration such as "500ms", "30s" or "5m", ${rangeOf(min, max)}`;
  return bounded(parseDurationMs, problem, min, max);
}

/** A parser of sizes from `min` to `max`, both written as such (`"64KiB"`). The value is in bytes. */
export function sizeBetween(min: string, max?: string): (text: string) => Parsed<number> {
  const problem = `must be a size such as "64MiB" or "10GiB", ${rangeOf(min, max)}`;
  return bounded(parseBytes, problem, min, max);
}

/** Parses `HOST:PORT` or `[IPV6]:PORT`, ports 0 to 65535. Undefined if it is neither. */
export function parseHostPort(text: string): HostPort | undefined {
  const [, v6, name, digits] = HOST_PORT.exec(text) ?? [];
  const host = v6 ?? name;
  const port = Number(digits);
  return host === undefined || port > PORT_MAX ? undefined : { host, port };
}

function bounded(
  parse: (text: string) => number | undefined,
  problem: string,
  min: string,
  max: string | undefined,
): (text: string) => Parsed<number> {
  const least = parse(min)!;
  const most = max === undefined ? Number.MAX_SAFE_INTEGER : parse(max)!;
  return (text) => {
    const value = parse(text);
    if (value !== undefined && value >= least && value <= most) return { at: "ok", value };
    return { at: "bad", problem };
  };
}

function rangeOf(min: string, max: string | undefined): string {
  return max === undefined ? `at least ${min}` : `from ${min} to ${max}`;
}

function exact(value: number): number | undefined {
  const rounded = Math.round(value);
  return Number.isSafeInteger(rounded) ? rounded : undefined;
}
