/** Schemas that several routes share: bounded texts and counts, and the parameters of paged lists. */
import { z } from "zod";

export const TEXT_MAX = 256;
export const text = z.string().max(TEXT_MAX);
export const count = z.int().min(0);

/** A refinement: an object with at most `max` keys, since the coordinator keeps in memory what a node announces. */
export function hasAtMost(max: number, what: string): [(value: object) => boolean, string] {
  return [(value) => Object.keys(value).length <= max, `at most ${max} ${what}`];
}

const PAGE_MAX = 1000;
/** The most values a repeated query parameter may have. */
export const REPEATED_MAX = 16;

const FIRST_PAGE = "The `next_cursor` of the previous page. Omit it for the first page.";

export const limit = z.coerce
  .number<number>()
  .int()
  .min(1)
  .max(PAGE_MAX)
  .default(PAGE_MAX)
  .describe("The maximum number of entries on the page.");

/** The cursor of a list that is ordered by a number. */
export const numericCursor = z.coerce.number<number>().int().min(1).optional().describe(FIRST_PAGE);

/** The cursor of a list that is ordered by id. */
export function cursorOf<S extends z.ZodType<string>>(ids: S) {
  return z
    .string()
    .max(TEXT_MAX)
    .transform((cursor, context): z.output<S> => {
      const id = ids.safeParse(Buffer.from(cursor, "base64url").toString());
      if (id.success && cursorAfter(id.data) === cursor) return id.data;
      context.addIssue("must be the next_cursor of an earlier page");
      return z.NEVER;
    })
    .optional()
    .describe(FIRST_PAGE);
}

/** The cursor that continues behind `id`. Opaque to clients. */
export function cursorAfter(id: string): string {
  return Buffer.from(id).toString("base64url");
}

/** `next_cursor` of a page's response. */
export const nextCursor = z
  .string()
  .optional()
  .describe("Pass it as `cursor` to get the next page. Absent on the last page.");
