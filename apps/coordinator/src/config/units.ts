/** Values with units as they stand in the configuration. */
import { parseBytes, parseDurationMs } from "@fleet/daemon";
import { z } from "zod";

/** `500ms`, `30s` or `5m`, more than nothing; gives ms. */
export const duration = z.string().transform((text, ctx) => {
  const ms = parseDurationMs(text);
  if (ms !== undefined && ms > 0) return ms;
  ctx.addIssue({ code: "custom", message: `"${text}" is not a duration like 500ms, 30s or 5m` });
  return z.NEVER;
});

/** `64MiB` or `10GiB`, more than nothing; gives bytes. */
export const size = z.string().transform((text, ctx) => {
  const bytes = parseBytes(text);
  if (bytes !== undefined && bytes > 0) return bytes;
  ctx.addIssue({ code: "custom", message: `"${text}" is not a size like 64MiB or 10GiB` });
  return z.NEVER;
});

/** A duration, or `never`, which is Infinity. */
export const durationOrNever = z.string().transform((text, ctx) => {
  if (text === "never") return Number.POSITIVE_INFINITY;
  const ms = parseDurationMs(text);
  if (ms !== undefined && ms > 0) return ms;
  const message = `"${text}" is not a duration like 10m or 7d, and not never`;
  ctx.addIssue({ code: "custom", message });
  return z.NEVER;
});
