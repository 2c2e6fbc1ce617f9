import { describe, expect, test } from "bun:test";

import { FakeClock, settle } from "../time/fake-clock.ts";
import { DeadlineError, type Service, ServiceGroup, withDeadline } from "./service.ts";

interface Scripted {
  readonly start?: () => void | Promise<void>;
  readonly stop?: (deadlineMs: number) => Promise<void>;
}

/** Services that record their calls. */
function group(
  clock: FakeClock,
  parts: Record<string, Scripted>,
): { group: ServiceGroup; heard: string[] } {
  const heard: string[] = [];
  const services = Object.entries(parts).map(([name, script]) => {
    const service: Service = {
      start() {
        heard.push(`start ${name}`);
        return script.start?.();
      },
      stop(deadlineMs) {
        heard.push(`stop ${name} by ${deadlineMs}`);
        return script.stop?.(deadlineMs) ?? Promise.resolve();
      },
    };
    return { name, service };
  });
  return { group: new ServiceGroup(clock, services), heard };
}

describe("a group of services", () => {
  test("starts in order, each after the previous one has started, and stops in reverse under one deadline", async () => {
    const clock = new FakeClock();
    const up = Promise.withResolvers<void>();
    const { group: all, heard } = group(clock, { a: { start: () => up.promise }, b: {} });
    const started = all.start(100);
    await settle();
    expect(heard).toEqual(["start a"]);
    up.resolve();
    await started;
    expect(await all.stop(500)).toEqual([]);
    expect(heard).toEqual(["start a", "start b", "stop b by 500", "stop a by 500"]);
  });

  test("stops the services started so far when one fails to start, and rethrows", async () => {
    const clock = new FakeClock();
    clock.advance(1000);
    const failure = new Error("no port");
    const { group: all, heard } = group(clock, {
      a: {},
      b: { start: () => Promise.reject(failure) },
      c: {},
    });
    expect(await all.start(100).catch((error: unknown) => error)).toBe(failure);
    expect(heard).toEqual(["start a", "start b", "stop b by 1100", "stop a by 1100"]);
  });

  test("returns the same promise from every stop, and stops each service once", async () => {
    const { group: all, heard } = group(new FakeClock(), { a: {} });
    await all.start(100);
    expect(all.stop(500)).toBe(all.stop(100));
    await all.stop(100);
    expect(heard).toEqual(["start a", "stop a by 500"]);
  });

  test("that is stopped during its start starts no further service", async () => {
    const up = Promise.withResolvers<void>();
    const { group: all, heard } = group(new FakeClock(), { a: { start: () => up.promise }, b: {} });
    const started = all.start(100);
    await all.stop(500);
    up.resolve();
    await started;
    expect(heard).toEqual(["start a", "stop a by 500"]);
  });

  test("reports the services that threw or exceeded the deadline, and still stops the others", async () => {
    const clock = new FakeClock();
    const failure = new Error("disk full");
    const { group: all, heard } = group(clock, {
      a: {},
      b: {
        stop: () => {
          throw failure;
        },
      },
      c: { stop: () => new Promise(() => {}) },
      d: { stop: () => Promise.reject(failure) },
    });
    await all.start(100);
    const stopped = all.stop(500);
    await clock.run(500);
    expect(await stopped).toEqual([
      { name: "d", cause: failure },
      { name: "c", cause: expect.any(DeadlineError) as DeadlineError },
      { name: "b", cause: failure },
    ]);
    expect(heard.at(-1)).toBe("stop a by 500");
    expect(clock.timers).toBe(0);
  });

  test("that was never started has nothing to stop", async () => {
    const { group: all, heard } = group(new FakeClock(), { a: {} });
    expect(await all.stop(500)).toEqual([]);
    expect(heard).toEqual([]);
  });
});

describe("a deadline", () => {
  test("passes on a promise that settles in time, and leaves no timer", async () => {
    const clock = new FakeClock();
    const failure = new Error("refused");
    expect(await withDeadline(clock, 100, Promise.resolve(7))).toBe(7);
    expect(
      await withDeadline(clock, 100, Promise.reject(failure)).catch((error: unknown) => error),
    ).toBe(failure);
    await settle();
    expect(clock.timers).toBe(0);
  });

  test("rejects at its time, not before, and ignores a later rejection of the promise", async () => {
    const clock = new FakeClock();
    clock.advance(50);
    const late = Promise.withResolvers<void>();
    let error: unknown;
    void withDeadline(clock, 100, late.promise).catch((e: unknown) => (error = e));
    await clock.run(49);
    expect(error).toBeUndefined();
    await clock.run(1);
    await settle();
    expect(error).toBeInstanceOf(DeadlineError);
    late.reject(new Error("too late"));
    await settle();
  });

  test("that has passed still passes on a settled promise", async () => {
    const clock = new FakeClock();
    clock.advance(500);
    expect(await withDeadline(clock, 100, Promise.resolve("done"))).toBe("done");
  });
});
