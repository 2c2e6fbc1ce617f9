/** Durations and sizes in agent.yaml, each with bounds of its own. Durations come out in ms, sizes in bytes. */
import { parseBytes, parseDurationMs } from "@fleet/daemon";
import { z } from "zod";

const LISTEN = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9][A-Za-z0-9.-]*)):(\d{1,5})$/;

/** A duration from `min` to `max`, both as written (`"10ms"`, `"7d"`). */
export function durationFrom(min: string, max: string) {
  const [minMs, maxMs] = [parseDurationMs(min)!, parseDurationMs(max)!];
  return z.string().transform((written, context) => {
    const ms = parseDurationMs(written);
    if (ms !== undefined && ms >= minMs && ms <= maxMs) return ms;
    context.addIssue(`must be a duration such as "500ms", "30s" or "5m", from ${min} to ${max}`);
    return z.NEVER;
  });
}

/** An address to listen on, as `0.0.0.0:7701`, `[::1]:7701` or `radar3:7701`. An IPv6 host comes out without its brackets. */
export const listenAddress = z.string().transform((written, context) => {
  const [, v6, name, digits] = LISTEN.exec(written) ?? [];
  const [host, port] = [v6 ?? name, Number(digits)];
  if (host !== undefined && port >= 1 && port <= 65_535) return { host, port };
  context.addIssue('must be HOST:PORT, such as "0.0.0.0:7701"');
  return z.NEVER;
});

/** A size of at least `min` and, where there is one, at most `max`, both as written (`"64KiB"`). */
export function sizeFrom(min: string, max?: string) {
  const minBytes = parseBytes(min)!;
  const maxBytes = max === undefined ? Number.MAX_SAFE_INTEGER : parseBytes(max)!;
  const range = max === undefined ? `at least ${min}` : `from ${min} to ${max}`;
  return z.string().transform((written, context) => {
    const bytes = parseBytes(written);
    if (bytes !== undefined && bytes >= minBytes && bytes <= maxBytes) return bytes;
    context.addIssue(`must be a size such as "64MiB", ${range}`);
    return z.NEVER;
  });
}
