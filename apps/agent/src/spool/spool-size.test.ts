import { expect, test } from "bun:test";
import { spoolBounds } from "./spool-size.ts";

const MIB = 1024 * 1024;

const boundsOf = (
  bytesMax: number | undefined,
  hasDir: boolean,
  sensors: number,
  memoryMaxBytes: number | null,
) => {
  const config = { bytesMax, ageMaxMs: undefined, onFull: "drop_oldest" } as const;
  return spoolBounds({ config, hasDir, sensors, memoryMaxBytes });
};

test.each([
  ["as configured, whatever there is", 256 * MIB, 3, 64 * MIB, 256 * MIB],
  ["64 MiB without a limit", undefined, 3, null, 64 * MIB],
  ["64 MiB under a roomy one", undefined, 1, 1024 * MIB, 64 * MIB],
  ["a fifth of a small one", undefined, 1, 100 * MIB, 20 * MIB],
  ["a fifth that all sensors share", undefined, 4, 100 * MIB, 5 * MIB],
  ["never next to nothing", undefined, 256, 32 * MIB, 64 * 1024],
  ["the same without sensors as with one", undefined, 0, 100 * MIB, 20 * MIB],
])("A16: a spool in memory holds %s", (_what, configured, sensors, memoryMaxBytes, bytes) => {
  const bounds = boundsOf(configured, false, sensors, memoryMaxBytes);
  expect(bounds).toMatchObject({ bytesMax: bytes, memoryBytesMax: bytes });
});

test.each([
  ["256 MiB by default", undefined, null, 256 * MIB, 64 * MIB],
  ["what is configured, in memory what fits there", 1024 * MIB, 100 * MIB, 1024 * MIB, 20 * MIB],
  ["in memory never more than in all", MIB, null, MIB, MIB],
])("A16: a spool on disk holds %s", (_what, configured, memoryMaxBytes, bytesMax, memory) => {
  const bounds = boundsOf(configured, true, 1, memoryMaxBytes);
  expect(bounds).toMatchObject({ bytesMax, memoryBytesMax: memory });
});
