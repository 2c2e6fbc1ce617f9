import { describe, expect, test } from "bun:test";
import { salvageConfigFile } from "./salvage.ts";

describe("the valid part of an invalid config file (A9)", () => {
  test("is all of it but the keys that are wrong, and sensors that lack one they need", () => {
    const file = salvageConfigFile(
      `
coordinator: { url: "http://c:7700", enroll_token_file: 7 }
node: { name: "no dots.", group: radar, labels: { "a.b": 1 } }
bogus: true
sensors:
  - { name: first, command: [x.py] }
  - { name: second, runtime: python, command: [y.py], restart: sometimes }
  - { name: second, runtime: python, command: [z.py] }
  - { name: third, runtime: cobol, command: [z.cob] }
  - { name: fourth, runtime: node, command: [z.js], mode: poll, interval: 1s }
`,
      undefined,
    );
    expect(file.coordinator).toEqual({ url: "http://c:7700" });
    expect(file.node.group).toBe("radar");
    expect(file.node.name).toBeUndefined();
    expect(file.sensors.map(({ name, command }) => [name, command[0]])).toEqual([
      ["second", "y.py"],
      ["fourth", "z.js"],
    ]);
  });

  test("is the defaults when there is nothing to be had", () => {
    for (const yaml of ["[1, 2]", "just words", "a: [", "sensors: 7", "- - -", ""]) {
      const file = salvageConfigFile(yaml, undefined);
      expect(file.sensors).toEqual([]);
      expect(file.coordinator.url).toBeUndefined();
    }
  });
});
