import { describe, expect, test } from "bun:test";
import { readBody } from "./body.ts";

function chunks(...texts: readonly string[]): { response: Response; isCancelled: () => boolean } {
  let cancelled = false;
  const waiting = texts.map((text) => new TextEncoder().encode(text));
  const body = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        const next = waiting.shift();
        if (next === undefined) controller.close();
        else controller.enqueue(next);
      },
      cancel: () => void (cancelled = true),
    },
    { highWaterMark: 0 },
  );
  return { response: new Response(body), isCancelled: () => cancelled };
}

describe("readBody", () => {
  test("joins the chunks of a body that is as long as allowed", async () => {
    expect(String(await readBody(chunks("ab", "", "cde").response, 5))).toBe("abcde");
  });

  test("returns undefined for one byte more, and cancels the rest", async () => {
    const { response, isCancelled } = chunks("ab", "cdef", "never read");
    expect(await readBody(response, 5)).toBeUndefined();
    expect(isCancelled()).toBe(true);
  });

  test("returns an empty buffer when there is no body", async () => {
    expect(await readBody(new Response(null), 0)).toEqual(Buffer.alloc(0));
  });
});
