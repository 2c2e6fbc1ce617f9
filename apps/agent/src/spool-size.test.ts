import { expect, test } from "bun:test";
import { spoolBytesMax } from "./spool-size.ts";

const MIB = 1024 * 1024;

test.each([
  ["as configured, whatever there is", 256 * MIB, 3, 64 * MIB, 256 * MIB],
  ["64 MiB without a limit", undefined, 3, null, 64 * MIB],
  ["64 MiB under a roomy one", undefined, 1, 1024 * MIB, 64 * MIB],
  ["a fifth of a small one", undefined, 1, 100 * MIB, 20 * MIB],
  ["a fifth that all sensors share", undefined, 4, 100 * MIB, 5 * MIB],
  ["never next to nothing", undefined, 256, 32 * MIB, 64 * 1024],
  ["the same without sensors as with one", undefined, 0, 100 * MIB, 20 * MIB],
])("A16: a spool in memory holds %s", (_what, configured, sensors, memoryMaxBytes, bytes) => {
  expect(spoolBytesMax({ configured, sensors, memoryMaxBytes })).toBe(bytes);
});
