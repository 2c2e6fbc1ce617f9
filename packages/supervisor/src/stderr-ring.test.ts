import { describe, expect, test } from "bun:test";
import fc from "fast-check";

import { StderrRing } from "./stderr-ring.ts";

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

describe("a stderr ring", () => {
  test("holds exactly the last bytesMax bytes pushed, and counts the others", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 3000 }),
        fc.array(fc.uint8Array({ maxLength: 2000 }), { maxLength: 20 }),
        (bytesMax, chunks) => {
          const ring = new StderrRing(bytesMax);
          for (const chunk of chunks) ring.push(chunk);
          const all = Buffer.concat(chunks);
          expect(Buffer.from(ring.bytes())).toEqual(
            all.subarray(Math.max(0, all.byteLength - bytesMax)),
          );
          expect(ring.droppedBytes).toBe(Math.max(0, all.byteLength - bytesMax));
        },
      ),
    );
  });

  test("copies the chunks pushed", () => {
    const ring = new StderrRing(10);
    const chunk = bytesOf("abc");
    ring.push(chunk);
    chunk.fill(0);
    expect(ring.text()).toBe("abc");
  });

  test("starts at a complete line once it has dropped bytes", () => {
    const ring = new StderrRing(10);
    ring.push(bytesOf("one\ntwo\n"));
    expect(ring.text()).toBe("one\ntwo\n");
    ring.push(bytesOf("three\n"));
    expect(ring.text()).toBe("three\n");
  });

  test("keeps the end of a line that is longer than the ring", () => {
    const ring = new StderrRing(4);
    ring.push(bytesOf("abcdefgh"));
    expect(ring.text()).toBe("efgh");
    ring.push(bytesOf("\n"));
    expect(ring.text()).toBe("fgh\n");
  });

  test("returns the last lines, with or without a final line terminator, even of invalid UTF-8", () => {
    const ring = new StderrRing(100);
    ring.push(bytesOf("a\nb\nc\n"));
    expect(ring.lines(2)).toEqual(["b", "c"]);
    ring.push(new Uint8Array([0x64, 0xff]));
    expect(ring.lines(9)).toEqual(["a", "b", "c", "d\u{fffd}"]);
    ring.clear();
    expect([ring.lines(9), ring.droppedBytes]).toEqual([[], 0]);
  });

  test("rejects an invalid bound", () => {
    for (const bad of [0, -1, 1.5, Number.NaN]) expect(() => new StderrRing(bad)).toThrow();
  });
});
