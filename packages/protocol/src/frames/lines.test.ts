import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { LINE_BYTES_MAX, LineDecoder } from "./lines.ts";

const encoder = new TextEncoder();

interface Outcome {
  readonly lines: readonly string[];
  readonly oversized: number;
  readonly pending: number;
}

/** Bytes as text, one character each, so that outcomes compare and print well. */
function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("latin1");
}

function decode(chunks: readonly Uint8Array[], lineBytesMax?: number): Outcome {
  const decoder = new LineDecoder(lineBytesMax);
  const lines: string[] = [];
  for (const chunk of chunks) {
    decoder.push(chunk, (bytes, start, end) => {
      expect(bytes[end]).toBe(10);
      lines.push(latin1(bytes.subarray(start, end)));
    });
  }
  return { lines, oversized: decoder.oversized, pending: decoder.pendingBytes };
}

/** A reference implementation: the whole stream, cut at every LF. */
function expected(stream: Uint8Array, lineBytesMax: number): Outcome {
  const parts = latin1(stream).split("\n");
  const rest = parts.pop()!;
  const lines = parts.filter((line) => line.length + 1 <= lineBytesMax);
  const restIsTooLong = rest.length >= lineBytesMax;
  return {
    lines,
    oversized: parts.length - lines.length + (restIsTooLong ? 1 : 0),
    pending: restIsTooLong ? 0 : rest.length,
  };
}

function cut(stream: Uint8Array, at: readonly number[]): readonly Uint8Array[] {
  const points = [0, ...at.map((p) => p % (stream.length + 1)).toSorted((a, b) => a - b)];
  return points.map((from, i) => stream.slice(from, points[i + 1] ?? stream.length));
}

const bytes = fc.array(fc.oneof(fc.constant(10), fc.integer({ min: 0, max: 255 })), {
  maxLength: 200,
});
const stream = bytes.map((b) => Uint8Array.from(b));

describe("LineDecoder", () => {
  test("finds the same lines however the bytes are cut, for any bytes and any limit", () => {
    const cuts = fc.array(fc.nat(), { maxLength: 20 });
    fc.assert(
      fc.property(stream, cuts, fc.integer({ min: 1, max: 40 }), (s, at, max) => {
        expect(decode(cut(s, at), max)).toEqual(expected(s, max));
      }),
      { numRuns: 2000 },
    );
  });

  test("finds the same lines one byte at a time", () => {
    fc.assert(
      fc.property(stream, fc.integer({ min: 1, max: 40 }), (s, max) => {
        const single = Array.from(s, (_, i) => s.slice(i, i + 1));
        expect(decode(single, max)).toEqual(expected(s, max));
      }),
    );
  });

  test("finds the same lines cut in two at every point, empty chunks included", () => {
    const s = encoder.encode('{"a":1}\n\n{"b":"é"}\r\n0123456789abcdef\n{"c":3}\nrest');
    for (let at = 0; at <= s.length; at++) {
      const two = [s.slice(0, at), s.slice(at)];
      expect(decode(two, 16)).toEqual(expected(s, 16));
      expect(decode(two)).toEqual(expected(s, LINE_BYTES_MAX));
    }
  });

  test("finds no further line once it is stopped, not even in the same chunk", () => {
    const decoder = new LineDecoder();
    const found: string[] = [];
    const push = (text: string): void =>
      decoder.push(encoder.encode(text), (chunk, start, end) => {
        found.push(new TextDecoder().decode(chunk.subarray(start, end)));
        if (found.length === 2) decoder.stop();
      });
    push("a\nb\nc\nd");
    push("e\nf\n");
    expect(found).toEqual(["a", "b"]);
    expect(decoder.pendingBytes).toBe(0);
  });

  describe.each([8, 4096, LINE_BYTES_MAX])("with a limit of %d bytes, LF included", (max) => {
    const lineOf = (length: number): Uint8Array => new Uint8Array(length).fill(97).fill(10, -1);
    const good = encoder.encode("ok\n");
    const ways: readonly [string, (whole: Uint8Array) => readonly Uint8Array[]][] = [
      ["in one chunk", (whole) => [whole]],
      ["with the LF on its own", (whole) => [whole.slice(0, -4), whole.slice(-4)]],
      ["in halves", (whole) => [whole.slice(0, max >> 1), whole.slice(max >> 1)]],
    ];

    test.each(ways)("takes a line of that length and one byte less, %s", (_name, split) => {
      for (const length of [max - 1, max]) {
        const { lines, oversized } = decode(split(Buffer.concat([lineOf(length), good])), max);
        expect(lines.map((line) => line.length)).toEqual([length - 1, 2]);
        expect(oversized).toBe(0);
      }
    });

    test.each(ways)("skips and counts one byte more, and takes the next, %s", (_name, split) => {
      for (const length of [max + 1, max * 3]) {
        const { lines, oversized, pending } = decode(
          split(Buffer.concat([lineOf(length), good])),
          max,
        );
        expect(lines).toEqual(["ok"]);
        expect({ oversized, pending }).toEqual({ oversized: 1, pending: 0 });
      }
    });
  });

  test("keeps nothing of an endless line", () => {
    const decoder = new LineDecoder(1024);
    const chunk = new Uint8Array(500).fill(97);
    for (let i = 0; i < 1000; i++) {
      decoder.push(chunk, () => expect.unreachable());
      expect(decoder.pendingBytes).toBeLessThan(1024);
    }
    expect(decoder.oversized).toBe(1);
  });

  test("passes on complete lines without copying them", () => {
    const chunk = encoder.encode("one\ntwo\nthr");
    const seen: [boolean, number, number][] = [];
    new LineDecoder().push(chunk, (b, start, end) => seen.push([b === chunk, start, end]));
    expect(seen).toEqual([
      [true, 0, 3],
      [true, 4, 7],
    ]);
  });

  test("keeps a split line even when the reader reuses its chunk", () => {
    const decoder = new LineDecoder();
    const lines: string[] = [];
    const chunk = encoder.encode("abc");
    decoder.push(chunk, () => expect.unreachable());
    chunk.set(encoder.encode("de\n"));
    decoder.push(chunk, (b, start, end) => lines.push(latin1(b.subarray(start, end))));
    expect(lines).toEqual(["abcde"]);
  });

  test("drops an unfinished line on reset, short or skipped", () => {
    for (const unfinished of ["half", "much too long for the limit"]) {
      const decoder = new LineDecoder(10);
      const lines: string[] = [];
      decoder.push(encoder.encode(unfinished), () => expect.unreachable());
      decoder.reset();
      expect(decoder.pendingBytes).toBe(0);
      decoder.push(encoder.encode("new\n"), (b, s, e) => lines.push(latin1(b.subarray(s, e))));
      expect(lines).toEqual(["new"]);
    }
  });
});
