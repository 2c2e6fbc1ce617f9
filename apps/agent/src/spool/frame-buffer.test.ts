import { expect, test } from "bun:test";
import fc from "fast-check";
import { FrameBuffer } from "./frame-buffer.ts";
import type { SpoolChunk } from "./spool.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

function textsOf(read: (fromSeq: number) => SpoolChunk | undefined): Map<number, string> {
  const texts = new Map<number, string>();
  for (let next = 1; ;) {
    const chunk = read(next);
    if (chunk === undefined) return texts;
    const lines = decoder.decode(chunk.bytes).split("\n");
    expect(lines.pop()).toBe("");
    expect(lines.length).toBe(chunk.lastSeq - chunk.firstSeq + 1);
    for (const [i, line] of lines.entries()) texts.set(chunk.firstSeq + i, line);
    next = chunk.lastSeq + 1;
  }
}

test("across segments of any size: reads return the held frames, kept ones are the youngest released, and both bounds hold", () => {
  const operation = fc.oneof(
    fc.record({ do: fc.constant("append" as const), length: fc.integer({ min: 0, max: 90 }) }),
    fc.record({ do: fc.constant("release" as const), back: fc.integer({ min: -2, max: 20 }) }),
  );
  fc.assert(
    fc.property(
      fc.constantFrom(16, 64, 4096),
      fc.constantFrom(0, 100, 8192),
      fc.integer({ min: 1, max: 300 }),
      fc.array(operation, { maxLength: 200 }),
      (segmentBytes, keepBytesMax, bytesMax, operations) => {
        const buffer = new FrameBuffer({ firstSeq: 1, keepBytesMax, segmentBytes });
        const texts = new Map<number, string>();
        for (const op of operations) {
          const seq = buffer.nextSeq;
          if (op.do === "append") {
            texts.set(seq, `${seq}:`.padEnd(op.length, "."));
            const bytes = encoder.encode(`x${texts.get(seq)!}\n`);
            buffer.append(bytes, 1, bytes.length - 1);
          } else buffer.release(Math.max(0, seq - op.back));
          const { firstSeq } = buffer;
          const entries = [...texts];
          const held = entries.filter(([n]) => n >= firstSeq);
          const read = textsOf((from) => buffer.read(from, bytesMax));
          expect([...read]).toEqual(held);
          expect(buffer.frames).toBe(held.length);
          expect(buffer.bytes).toBe(held.reduce((sum, [, text]) => sum + text.length + 1, 0));
          const released = [...textsOf((from) => buffer.readReleased(from, firstSeq, bytesMax))];
          const gone = entries.filter(([n]) => n < firstSeq);
          expect(released).toEqual(gone.slice(gone.length - released.length));
          const keptBytes = released.reduce((sum, [, text]) => sum + text.length + 1, 0);
          expect(keptBytes).toBeLessThanOrEqual(keepBytesMax + Math.max(4096, segmentBytes));
        }
      },
    ),
    { numRuns: 200 },
  );
});
