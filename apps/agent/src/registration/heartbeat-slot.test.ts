import { expect, test } from "bun:test";
import { heartbeatSlot } from "./heartbeat-slot.ts";

test("a node's slot is always the same, and slots spread over the interval", () => {
  expect(heartbeatSlot("radar3")).toBe(heartbeatSlot("radar3"));
  const tenths = Array.from<number>({ length: 10 }).fill(0);
  for (let i = 0; i < 10_000; i++) {
    const slot = heartbeatSlot(`radar-${i}`);
    expect(slot).toBeGreaterThanOrEqual(0.1);
    expect(slot).toBeLessThan(1);
    tenths[Math.floor(((slot - 0.1) / 0.9) * 10)]! += 1;
  }
  for (const count of tenths) expect(Math.abs(count - 1000)).toBeLessThan(300);
});
