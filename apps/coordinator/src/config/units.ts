/** Durations and sizes in the configuration, as schemas. Durations become ms, sizes bytes. */
import { durationBetween, type Parsed, sizeBetween } from "@fleet/daemon";
import { z } from "zod";

const parseDuration = durationBetween("1ms");

/** `500ms`, `30s` or `5m`; more than 0. */
export const duration = setting(parseDuration);

/** `64MiB` or `10GiB`; more than 0. */
export const size = setting(sizeBetween("1B"));

/** A duration, or `never`, which becomes Infinity. */
export const durationOrNever = setting((text) => {
  if (text === "never") return { at: "ok", value: Number.POSITIVE_INFINITY };
  const parsed = parseDuration(text);
  return parsed.at === "ok" ? parsed : { at: "bad", problem: `${parsed.problem}, or "never"` };
});

function setting<T>(parse: (text: string) => Parsed<T>) {
  return z.string().transform((text, context) => {
    const parsed = parse(text);
    if (parsed.at === "ok") return parsed.value;
    context.addIssue(parsed.problem);
    return z.NEVER;
  });
}
