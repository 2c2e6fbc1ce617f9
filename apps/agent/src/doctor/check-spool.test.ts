import { expect, test } from "bun:test";
import { checkSpool } from "./check-spool.ts";

const MIB = 1024 ** 2;

test.each([
  [1, 64, null, "ok"],
  [1, 64, 128, "ok"],
  [1, 65, 128, "warn"],
  [3, 64, 256, "warn"],
  [4, 64, 256, "fail"],
] as const)(
  "%p spools of %p MiB where %p MiB may be used are %p (A9, A16)",
  (sensors, mebibytes, limit, status) => {
    const [found] = checkSpool({
      sensors,
      bytesMax: mebibytes * MIB,
      hasDir: false,
      memoryMaxBytes: limit === null ? null : limit * MIB,
    });
    expect(found).toMatchObject({ id: "spool", status });
    if (status !== "ok")
      expect(found?.remedy).toContain(`${Math.floor((limit ?? 0) / 2 / sensors)}MiB`);
  },
);

test("without sensors there is no spool to look at (A9)", () => {
  expect(checkSpool({ sensors: 0, bytesMax: MIB, hasDir: false, memoryMaxBytes: 1 })).toEqual([]);
});

test("on disk they take no memory that would matter (A9, A16)", () => {
  const [found] = checkSpool({
    sensors: 2,
    bytesMax: 256 * MIB,
    hasDir: true,
    memoryMaxBytes: MIB,
  });
  expect(found).toMatchObject({ id: "spool", status: "ok" });
  expect(found?.message).toBe("on disk, up to 256 MiB for each of 2 sensors");
});
