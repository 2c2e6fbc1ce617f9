import { describe, expect, test } from "bun:test";
import { readdirSync, writeSync } from "node:fs";

import { type ByteSource, fdSource, streamSource } from "./byte-source.ts";
import { openPipe, type Pipe } from "./pipe.ts";

const openFds = (): number => readdirSync("/proc/self/fd").length;

function aPipe(): Pipe {
  const pipe = openPipe();
  if (pipe === undefined) throw new Error("no pipe2");
  return pipe;
}

async function textOf(source: ByteSource): Promise<string> {
  const chunks: Uint8Array[] = [];
  for (let chunk = await source.read(); chunk !== undefined; chunk = await source.read())
    chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

describe("the read end of a pipe", () => {
  test("yields what was written, then the end", async () => {
    const pipe = aPipe();
    const source = fdSource(pipe.takeRead());
    writeSync(pipe.writeFd, "one");
    const first = await source.read();
    writeSync(pipe.writeFd, "two");
    pipe.close();
    expect([new TextDecoder().decode(first), await textOf(source)]).toEqual(["one", "two"]);
    expect(await source.read()).toBeUndefined();
    source.close();
  });

  test("can be closed during a pending read, and without any read", async () => {
    for (const reads of [true, false]) {
      const pipe = aPipe();
      const source = fdSource(pipe.takeRead());
      const waiting = reads ? source.read() : undefined;
      source.close();
      source.close();
      expect(await waiting).toBeUndefined();
      expect(await source.read()).toBeUndefined();
      pipe.close();
    }
  });

  test("leaves no descriptor open when read to the end, closed early or never read", async () => {
    const before = openFds();
    for (let i = 0; i < 60; i++) {
      const pipe = aPipe();
      const source = fdSource(pipe.takeRead());
      const waiting = i % 3 === 0 ? undefined : source.read();
      if (i % 3 === 1) source.close();
      pipe.close();
      await waiting;
      source.close();
    }
    // Bun closes its duplicates a moment later.
    while (openFds() > before + 5) await new Promise((resolve) => setImmediate(resolve));
  });

  test("is closed with the pipe when it was not taken", () => {
    const before = openFds();
    for (let i = 0; i < 20; i++) aPipe().close();
    expect(openFds()).toBeLessThanOrEqual(before);
  });
});

test("Bun's own stream of an output is read the same way", async () => {
  const child = Bun.spawn(["sh", "-c", "printf text"], { stdout: "pipe", stderr: "ignore" });
  expect(await textOf(streamSource(child.stdout))).toBe("text");
  expect(() => streamSource(undefined)).toThrow(TypeError);
});
