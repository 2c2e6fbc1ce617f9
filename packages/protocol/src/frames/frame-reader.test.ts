import { expect, test } from "bun:test";
import { FrameReader } from "./frame-reader.ts";

const frame = (n: number, name = ""): string =>
  JSON.stringify({ timestamp: n, delay: [], doppler: [], snr: [], name });

/** What comes out of `text`, pushed in pieces of `size` bytes. */
function read(text: string, size: number, lineBytesMax?: number): string[] {
  const seen: string[] = [];
  const reader = new FrameReader(
    (bytes, start, end) => {
      expect(bytes[end]).toBe(10);
      seen.push(Buffer.from(bytes.subarray(start, end)).toString("latin1"));
    },
    (problem, line) => seen.push(`${problem} ${JSON.stringify(line?.object ?? null)}`),
    lineBytesMax,
  );
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += size) reader.push(bytes.subarray(at, at + size));
  return seen;
}

test("frames are whole and in ASCII, and other lines have a reason, however the bytes are cut", () => {
  const text = `${frame(1)}\n{"type":"skip"}\n${frame(2, "Zürich")}\nnoise\n${frame(3)}\n${frame(4)}`;
  const expected = [
    frame(1),
    'bad_timestamp {"type":"skip"}',
    frame(2, "Zürich").replace("ü", String.raw`\u00fc`),
    "bad_json null",
    frame(3),
  ];
  for (const size of [1, 7, 1000]) expect(read(text, size)).toEqual(expected);
});

test("a frame lies in the pushed chunk itself unless the chunk has only part of it or it was re-encoded", () => {
  const inPlace: boolean[] = [];
  let chunk: Uint8Array;
  const reader = new FrameReader(
    (bytes) => inPlace.push(bytes === chunk),
    () => {},
  );
  const lines = Buffer.from(`${frame(1)}\n${frame(2, "ü")}\n${frame(3)}`);
  for (const piece of [lines, Buffer.from(`\n${frame(4)}\n`)]) {
    chunk = piece;
    reader.push(piece);
  }
  expect(inPlace).toEqual([true, false, false, true]);
});

test("a line that is too long is reported once, and one without its LF only when that follows", () => {
  expect(read(`${"x".repeat(50)}\n${frame(1)}\n`, 3, 60 + frame(1).length)).toHaveLength(2);
  expect(read(`${"x".repeat(500)}\n${frame(1)}\n`, 3, 100)).toEqual(["too_long null", frame(1)]);
  const seen: unknown[] = [];
  const reader = new FrameReader(
    () => seen.push("frame"),
    () => seen.push("other"),
  );
  reader.push(Buffer.from(frame(1)));
  expect([seen.length, reader.pendingBytes]).toEqual([0, frame(1).length]);
  reader.reset();
  reader.push(Buffer.from("\n"));
  expect(seen).toEqual(["other"]);
});
