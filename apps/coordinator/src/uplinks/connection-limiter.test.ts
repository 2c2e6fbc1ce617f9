import { expect, test } from "bun:test";
import fc from "fast-check";
import { ConnectionLimiter } from "./connection-limiter.ts";

const MAX = 8;
const PER_ADDRESS = 3;

test("no limit is exceeded in any order of events, and an authenticated connection never gives way (T1)", () => {
  const step = fc.record({
    what: fc.constantFrom("come", "authenticate", "leave"),
    address: fc.constantFrom("a", "b", "c", "d"),
    which: fc.nat(MAX),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const limits = { connectionsMax: MAX, perAddressMax: PER_ADDRESS, descriptorMax: 100 };
      const limiter = new ConnectionLimiter<{ readonly address: string; known: boolean }>(limits);
      for (const { what, address, which } of steps) {
        const there = [...limiter.all()];
        const one = there[which % Math.max(1, there.length)];
        const ofAddress = there.filter((c) => c.address === address).length;
        if (what === "come") {
          const refusal = limiter.refusalOf(address, 50);
          if (there.length >= MAX) expect(refusal).toBe("too_many_connections");
          else if (ofAddress >= PER_ADDRESS) expect(refusal).toBe("too_many_from_address");
          else expect(refusal).toBeUndefined();
          if (refusal !== undefined) continue;
          const crowdedOut = limiter.reserve({ address, known: false }, address);
          expect(crowdedOut?.known ?? false).toBe(false);
          // `there` is in the order of the reservations.
          expect(crowdedOut).toBe(
            there.filter((c) => !c.known).length >= MAX / 4
              ? there.find((c) => !c.known)
              : undefined,
          );
          if (crowdedOut !== undefined) limiter.release(crowdedOut);
        } else if (one !== undefined && what === "authenticate") {
          one.known = true;
          limiter.markAuthenticated(one);
        } else if (one !== undefined) {
          limiter.release(one);
          limiter.release(one);
        }
        const left = [...limiter.all()];
        expect(limiter.size).toBe(left.length);
        expect(left.filter((c) => !c.known).length).toBeLessThanOrEqual(MAX / 4);
      }
    }),
  );
});

test("a descriptor above the highest allowed one is refused, the highest is not", () => {
  const limiter = new ConnectionLimiter({
    connectionsMax: 1,
    perAddressMax: 1,
    descriptorMax: 100,
  });
  expect(limiter.refusalOf("a", 100)).toBeUndefined();
  expect(limiter.refusalOf("a", 101)).toBe("out_of_descriptors");
});
