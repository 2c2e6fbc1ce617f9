import { expect, test } from "bun:test";
import { frameDescriptorMax } from "./descriptors.ts";

const limits = (soft: number | string): string =>
  `Max stack size 8388608 unlimited bytes\nMax open files            ${soft}                 1048576              files\n`;

test.each([
  [256, 256 - 32 - 1],
  [1024, 1024 - 128 - 1],
  [1_048_576, 1_048_576 - 1024 - 1],
  ["unlimited", Number.POSITIVE_INFINITY],
])("of %p descriptors some are reserved, so that accept never runs out of them", (soft, max) => {
  expect(frameDescriptorMax(limits(soft))).toBe(max);
});

test("the limit is that of this process, or none if it can't be read", () => {
  expect(frameDescriptorMax("")).toBe(Number.POSITIVE_INFINITY);
  expect(frameDescriptorMax()).toBeGreaterThan(0);
});
