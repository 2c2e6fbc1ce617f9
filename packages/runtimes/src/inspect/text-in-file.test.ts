import { expect, test } from "bun:test";
import { makeTestImage } from "../test-image.ts";
import { textAfter } from "./text-in-file.ts";

const CHUNK_BYTES = 128 * 1024;

test("a banner is found at any offset, also across the boundary of two chunks", () => {
  using image = makeTestImage();
  const banner = "BusyBox v1.36.1 (2023)";
  for (const at of [
    0,
    1,
    CHUNK_BYTES - banner.length,
    ...Array.from({ length: 40 }, (_, n) => CHUNK_BYTES - n),
    2 * CHUNK_BYTES - 5,
  ]) {
    const path = image.file(
      "busybox",
      Buffer.concat([Buffer.alloc(at), Buffer.from(banner), Buffer.alloc(CHUNK_BYTES)]),
    );
    expect(textAfter(path, "BusyBox v", 6)).toBe("1.36.1");
  }
});

test("a banner at the end of the file may be shorter than the limit", () => {
  using image = makeTestImage();
  expect(textAfter(image.file("x", "..BusyBox v1.3"), "BusyBox v", 24)).toBe("1.3");
});

test("a missing banner, a missing file and a directory yield undefined", () => {
  using image = makeTestImage();
  expect(textAfter(image.file("x", Buffer.alloc(300_000)), "BusyBox v", 8)).toBeUndefined();
  expect(textAfter(`${image.dir}/nowhere`, "x", 8)).toBeUndefined();
  expect(textAfter(image.dir, "x", 8)).toBeUndefined();
});
