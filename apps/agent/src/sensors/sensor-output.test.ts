import { expect, test } from "bun:test";
import { FakeClock } from "@fleet/daemon/testing";
import fc from "fast-check";
import { SensorOutput } from "./sensor-output.ts";
import { frameText, memorySpool, recordingLog } from "../testing.ts";

const encoder = new TextEncoder();

function setUp(bytesMax = 1 << 20) {
  const { log, lines } = recordingLog();
  const clock = new FakeClock();
  const spool = memorySpool(clock, log, bytesMax);
  const output = new SensorOutput({ spool, clock, log });
  const push = (text: string): void => void output.push(encoder.encode(text));
  const held = (): string => new TextDecoder().decode(spool.read(1, 1 << 20)?.bytes);
  return { spool, output, lines, push, held };
}

test("frames go to the spool as they were written", () => {
  const { push, held, output } = setUp();
  push(`${frameText(1)}\n${frameText(2)}\n`);
  expect(held()).toBe(`${frameText(1)}\n${frameText(2)}\n`);
  expect(output.counters()).toEqual({ produced: 2, acked: 0, spooled: 2, dropped: {} });
});

test("a chunk's memory may be used again as soon as it was pushed", () => {
  const { output, held } = setUp();
  const chunk = encoder.encode(`${frameText(1)}\n`);
  void output.push(chunk);
  chunk.fill(0);
  expect(held()).toBe(`${frameText(1)}\n`);
});

test("lines that are not frames are dropped and counted by reason, and each reason is logged once a minute", () => {
  const { push, output, lines, spool } = setUp();
  push('hello\n{"timestamp":1}\nhello again\nagain\n');
  expect(output.counters().dropped).toEqual({ bad_json: 3, bad_arrays: 1 });
  expect(output.counters().produced).toBe(4);
  expect(spool.nextSeq).toBe(1);
  expect(lines.map((line) => line.fields["problem"])).toEqual(["bad_json", "bad_arrays"]);
});

test("blank lines are nothing", () => {
  const { push, output } = setUp();
  push("\n  \r\n\t\n");
  expect(output.counters()).toEqual({ produced: 0, acked: 0, spooled: 0, dropped: {} });
});

test("a frame with letters beyond ASCII is re-encoded", () => {
  const { push, held } = setUp();
  push('{"timestamp":1,"delay":[],"doppler":[],"snr":[],"site":"Zürich"}\n');
  expect(held()).toContain("Z\\u00fcrich");
});

test("a line over the limit is counted as too long, and the next one is read", () => {
  const { push, output } = setUp();
  push(`${"x".repeat(1 << 20)}\n${frameText(1)}\n`);
  expect(output.counters()).toMatchObject({ produced: 2, spooled: 1, dropped: { too_long: 1 } });
});

test("a last line without its end counts when the sensor ended well", () => {
  const { push, output } = setUp();
  push(frameText(1));
  output.end(true);
  expect(output.counters()).toMatchObject({ produced: 1, spooled: 1 });
});

test("a last line without its end is forgotten when the sensor was killed", () => {
  const { push, output } = setUp();
  push(frameText(1).slice(0, 20));
  output.end(false);
  push(`${frameText(2)}\n`);
  expect(output.counters()).toMatchObject({ produced: 1, spooled: 1, dropped: {} });
});

test("produced = acked + spooled + Σ dropped, however the output is cut and however the coordinator answers", () => {
  const line = fc.oneof(
    fc.nat(1000).map(frameText),
    fc.constantFrom("", " ", "junk", "{}", '{"timestamp":1,"delay":[1],"doppler":[],"snr":[]}'),
    fc.string({ maxLength: 40 }).map((text) => text.replaceAll("\n", "")),
  );
  fc.assert(
    fc.property(
      fc.array(line, { maxLength: 60 }),
      fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 30 }),
      fc.array(fc.nat(60), { maxLength: 10 }),
      (lines, cuts, acks) => {
        const { spool, output } = setUp(1000);
        const bytes = encoder.encode(lines.map((text) => `${text}\n`).join(""));
        let at = 0;
        for (let i = 0; at < bytes.length; i++) {
          const end = Math.min(bytes.length, at + cuts[i % cuts.length]!);
          void output.push(bytes.subarray(at, end));
          at = end;
          const ack = acks[i % Math.max(1, acks.length)];
          if (ack !== undefined && i % 3 === 0) spool.ack(ack);
          if (ack !== undefined && i % 3 === 1) spool.reject(ack, "bad_frame");
          const { produced, acked, spooled, dropped } = output.counters();
          const droppedSum = Object.values(dropped).reduce((a, b) => a + b, 0);
          expect(acked + spooled + droppedSum).toBe(produced);
        }
      },
    ),
  );
});
