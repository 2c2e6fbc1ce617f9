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
        const ofAddress = there.filter((c) => c.address === address);
        if (what === "come") {
          const refusal = limiter.refusalOf(address, 50);
          if (there.length >= MAX) expect(refusal).toBe("too_many_connections");
          else if (ofAddress.length >= PER_ADDRESS && ofAddress.every((c) => c.known))
            expect(refusal).toBe("too_many_from_address");
          else expect(refusal).toBeUndefined();
          if (refusal !== undefined) continue;
          const crowdedOut = limiter.reserve({ address, known: false }, address);
          expect(crowdedOut?.known ?? false).toBe(false);
          // `there` is in the order of the reservations.
          const strangers = there.filter((c) => !c.known);
          const among = ofAddress.length >= PER_ADDRESS ? ofAddress : there;
          const mustGive = ofAddress.length >= PER_ADDRESS || strangers.length >= MAX / 4;
          expect(crowdedOut).toBe(mustGive ? among.find((c) => !c.known) : undefined);
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
        for (const name of ["a", "b", "c", "d"])
          expect(left.filter((c) => c.address === name).length).toBeLessThanOrEqual(PER_ADDRESS);
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
