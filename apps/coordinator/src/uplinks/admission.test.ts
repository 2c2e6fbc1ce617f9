import { expect, test } from "bun:test";
import fc from "fast-check";
import { Admission } from "./admission.ts";

const MAX = 8;
const PER_ADDRESS = 3;

test("whatever comes, goes and authenticates, no limit is passed, and who has authenticated never gives way (T1)", () => {
  const step = fc.record({
    what: fc.constantFrom("come", "authenticate", "leave"),
    address: fc.constantFrom("a", "b", "c", "d"),
    which: fc.nat(MAX),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const limits = { connectionsMax: MAX, perAddressMax: PER_ADDRESS, descriptorMax: 100 };
      const admission = new Admission<{ readonly address: string; known: boolean }>(limits);
      for (const { what, address, which } of steps) {
        const there = [...admission.all()];
        const one = there[which % Math.max(1, there.length)];
        const ofAddress = there.filter((c) => c.address === address).length;
        if (what === "come") {
          const refusal = admission.refusal(address, 50);
          if (there.length >= MAX) expect(refusal).toBe("too_many_connections");
          else if (ofAddress >= PER_ADDRESS) expect(refusal).toBe("too_many_from_address");
          else expect(refusal).toBeUndefined();
          if (refusal !== undefined) continue;
          const crowdedOut = admission.add({ address, known: false }, address);
          expect(crowdedOut?.known ?? false).toBe(false);
          // The oldest, which it was told of in this order.
          expect(crowdedOut).toBe(
            there.filter((c) => !c.known).length >= MAX / 4
              ? there.find((c) => !c.known)
              : undefined,
          );
          if (crowdedOut !== undefined) admission.remove(crowdedOut);
        } else if (one !== undefined && what === "authenticate") {
          one.known = true;
          admission.authenticated(one);
        } else if (one !== undefined) {
          admission.remove(one);
          admission.remove(one);
        }
        const left = [...admission.all()];
        expect(admission.size).toBe(left.length);
        expect(left.filter((c) => !c.known).length).toBeLessThanOrEqual(MAX / 4);
      }
    }),
  );
});

test("a descriptor beyond the last one it may have is refused, that one is not", () => {
  const admission = new Admission({ connectionsMax: 1, perAddressMax: 1, descriptorMax: 100 });
  expect(admission.refusal("a", 100)).toBeUndefined();
  expect(admission.refusal("a", 101)).toBe("out_of_descriptors");
});
