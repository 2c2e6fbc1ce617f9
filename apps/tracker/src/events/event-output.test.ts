import { describe, expect, test } from "bun:test";
import { EventOutput } from "./event-output.ts";

/** A sink whose flush ends only when the test calls `finish`. */
class SlowSink {
  text = "";
  #finish: PromiseWithResolvers<number> | undefined;

  write(bytes: Uint8Array): number {
    this.text += new TextDecoder().decode(bytes);
    return bytes.length;
  }

  flush(): Promise<number> {
    this.#finish = Promise.withResolvers<number>();
    return this.#finish.promise;
  }

  async finish(error?: Error): Promise<void> {
    await settle();
    if (error === undefined) this.#finish?.resolve(0);
    else this.#finish?.reject(error);
    await settle();
  }
}

/** Waits until all pending microtasks of the output have run. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

const HALF_MIB = 512 * 1024;

describe("EventOutput", () => {
  test("writes everything in order, one chunk at a time", async () => {
    const sink = new SlowSink();
    const output = new EventOutput(sink);
    output.writeText("a");
    output.pump();
    output.write(Buffer.from("b"));
    output.pump();
    output.writeText("cé");
    expect(sink.text).toBe("a");
    await sink.finish();
    expect(sink.text).toBe("abcé");
    await sink.finish();
    expect(output.pendingBytes).toBe(0);
  });

  test("counts unwritten bytes, and is full above 512 KiB", async () => {
    const sink = new SlowSink();
    const output = new EventOutput(sink);
    output.write(new Uint8Array(HALF_MIB));
    output.pump();
    expect([output.pendingBytes, output.isFull]).toEqual([HALF_MIB, false]);
    output.writeText("x");
    expect([output.pendingBytes, output.isFull]).toEqual([HALF_MIB + 1, true]);
    await sink.finish();
    expect([output.pendingBytes, output.isFull]).toEqual([1, false]);
  });

  test("resolves untilDrained when half empty, and untilEmpty when empty", async () => {
    const sink = new SlowSink();
    const output = new EventOutput(sink);
    const done: string[] = [];
    output.write(new Uint8Array(HALF_MIB));
    output.pump();
    output.writeText("x");
    void output.untilDrained().then(() => done.push("drained"));
    void output.untilEmpty().then(() => done.push("empty"));
    await sink.finish();
    expect(done).toEqual(["drained"]);
    await sink.finish();
    expect(done).toEqual(["drained", "empty"]);
    await output.untilEmpty();
  });

  test("reports a failure once, resolves all waiters, and discards later writes", async () => {
    const sink = new SlowSink();
    const output = new EventOutput(sink);
    const failures: unknown[] = [];
    output.onFailure = (cause) => failures.push(cause);
    output.writeText("a");
    const empty = output.untilEmpty();
    const broken = new Error("EPIPE");
    await sink.finish(broken);
    await empty;
    output.writeText("b");
    output.pump();
    expect(failures).toEqual([broken]);
    expect([sink.text, output.pendingBytes]).toEqual(["a", 0]);
  });
});
