/** Durations, sizes and addresses in agent.yaml, as schemas. Durations become ms, sizes bytes. */
import {
  durationBetween,
  type HostPort,
  type Parsed,
  parseHostPort,
  sizeBetween,
} from "@fleet/daemon";
import { z } from "zod";

/** A duration from `min` to `max`, both written as such (`"10ms"`, `"7d"`). */
export function durationFrom(min: string, max: string) {
  return setting(durationBetween(min, max));
}

/** A size of at least `min` and at most `max`, if given; both written as such (`"64KiB"`). */
export function sizeFrom(min: string, max?: string) {
  return setting(sizeBetween(min, max));
}

/** An address to listen on, such as `0.0.0.0:7701`, `[::1]:7701` or `radar3:7701`. */
export const listenAddress = setting((text): Parsed<HostPort> => {
  const value = parseHostPort(text);
  if (value !== undefined && value.port >= 1) return { at: "ok", value };
  return { at: "bad", problem: 'must be HOST:PORT, such as "0.0.0.0:7701"' };
});

function setting<T>(parse: (text: string) => Parsed<T>) {
  return z.string().transform((text, context) => {
    const parsed = parse(text);
    if (parsed.at === "ok") return parsed.value;
    context.addIssue(parsed.problem);
    return z.NEVER;
  });
}
