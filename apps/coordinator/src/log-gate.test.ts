import { describe, expect, test } from "bun:test";
import { FakeClock } from "@fleet/daemon/testing";
import { LogGate } from "./log-gate.ts";

describe("a log gate", () => {
  test("lets one line of each key through a minute, and tells how many it held back", () => {
    const clock = new FakeClock();
    const gate = new LogGate(clock);
    expect([gate.pass("a"), gate.pass("a"), gate.pass("b"), gate.pass("a")]).toEqual([
      0,
      undefined,
      0,
      undefined,
    ]);
    clock.advance(59_999);
    expect(gate.pass("a")).toBeUndefined();
    clock.advance(1);
    expect([gate.pass("a"), gate.pass("a"), gate.pass("b")]).toEqual([3, undefined, 0]);
  });

  test("tells 1024 keys apart; beyond that it holds back until a minute has passed", () => {
    const clock = new FakeClock();
    const gate = new LogGate(clock);
    for (let n = 0; n < 1024; n++) expect(gate.pass(`k${n}`)).toBe(0);
    expect(gate.pass("one more")).toBeUndefined();
    clock.advance(60_000);
    expect([gate.pass("one more"), gate.pass("k1"), gate.pass("k0")]).toEqual([0, 0, 0]);
  });
});
