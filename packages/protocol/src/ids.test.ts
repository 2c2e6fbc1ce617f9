import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  nodeIdFrom,
  nodeIdSchema,
  nodeOfStream,
  sensorNameSchema,
  streamIdOf,
  streamIdSchema,
} from "./ids.ts";

const ID = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/;
const ids = fc.stringMatching(ID);

describe("an id", () => {
  test("is 1 to 64 letters, digits, _ or -, beginning with a letter or digit", () => {
    for (const good of ["a", "0", "Radar-3_x", "x".repeat(64)])
      expect(nodeIdSchema.safeParse(good).success).toBe(true);
    for (const bad of ["", "-a", "_a", "a.b", "a/b", "a b", "a\n", "é", "x".repeat(65), 7, null])
      expect(nodeIdSchema.safeParse(bad).success).toBe(false);
  });
});

describe("a stream id", () => {
  test("of a node and a sensor leads back to the node, and differs for every pair", () => {
    fc.assert(
      fc.property(ids, fc.option(ids, { nil: undefined }), (node, sensor) => {
        const nodeId = nodeIdSchema.parse(node);
        const stream = streamIdOf(
          nodeId,
          sensor === undefined ? sensor : sensorNameSchema.parse(sensor),
        );
        expect(streamIdSchema.parse(stream)).toBe(stream);
        expect(nodeOfStream(stream)).toBe(nodeId);
        expect(String(stream)).toBe(sensor === undefined ? node : `${node}.${sensor}`);
      }),
    );
  });

  test("has one dot at most, with an id on each side", () => {
    for (const bad of ["", ".", "a.", ".a", "a.b.c", "a..b", "a.-b", "a.b\n"])
      expect(streamIdSchema.safeParse(bad).success).toBe(false);
  });
});

describe("nodeIdFrom", () => {
  test("makes an id of any text, or nothing", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.string({ unit: "binary" })), (text) => {
        const made = nodeIdFrom(text);
        if (made === undefined) expect(text).not.toMatch(/[A-Za-z0-9]/);
        else expect(made).toMatch(ID);
      }),
    );
  });

  test("leaves an id as it is", () => {
    fc.assert(fc.property(ids, (id) => expect(String(nodeIdFrom(id))).toBe(id)));
  });

  test.each([
    ["radar3.hill.example.org", "radar3-hill-example-org"],
    ["--x--", "x--"],
    ["Größe 7", "Gr-e-7"],
    ["x".repeat(80), "x".repeat(64)],
    ["...", undefined],
    ["", undefined],
  ])("%p becomes %p", (text, id) => {
    expect(nodeIdFrom(text) as string | undefined).toBe(id);
  });
});
