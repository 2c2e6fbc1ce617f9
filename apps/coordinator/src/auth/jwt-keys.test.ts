import { describe, expect, test } from "bun:test";
import { chmodSync, existsSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { tempDir } from "../testing.ts";
import { KeyFileError, loadJwtKeys, rotateJwtKeys } from "./jwt-keys.ts";

const mode = (path: string): number => statSync(path).mode & 0o777;

describe("the key file (H5)", () => {
  test("is created once, readable by its owner only, and kept", () => {
    using dir = tempDir();
    const { current } = loadJwtKeys(dir.path);
    expect(current.length).toBe(32);
    expect(mode(join(dir.path, "jwt.key"))).toBe(0o600);
    expect(existsSync(join(dir.path, "jwt.key.tmp"))).toBe(false);
    const again = loadJwtKeys(dir.path);
    expect(Buffer.from(again.current)).toEqual(Buffer.from(current));
    expect(again.previous).toBeUndefined();
  });

  test.each(["jwt.key", "jwt-previous.key"])(
    "%s that is damaged is refused and left unchanged, because a new key would lock all agents out",
    (name) => {
      using dir = tempDir();
      const path = join(dir.path, name);
      for (const damaged of ["", "short", "x".repeat(33)]) {
        writeFileSync(path, damaged);
        expect(() => loadJwtKeys(dir.path)).toThrow(KeyFileError);
        expect(readFileSync(path, "utf8")).toBe(damaged);
      }
    },
  );

  test("that a crash left incomplete is created again, readable by its owner only", () => {
    using dir = tempDir();
    writeFileSync(join(dir.path, "jwt.key.tmp"), "half");
    chmodSync(join(dir.path, "jwt.key.tmp"), 0o644);
    loadJwtKeys(dir.path);
    expect(mode(join(dir.path, "jwt.key"))).toBe(0o600);
  });

  test("is not written for :memory:, where each load makes a new key", () => {
    const [one, two] = [loadJwtKeys(":memory:"), loadJwtKeys(":memory:")];
    expect(Buffer.from(one.current)).not.toEqual(Buffer.from(two.current));
    expect(Buffer.from(rotateJwtKeys(":memory:", one).previous!)).toEqual(Buffer.from(one.current));
    expect(existsSync(":memory:")).toBe(false);
  });

  test("that is rotated keeps its predecessor across restarts and drops older ones", () => {
    using dir = tempDir();
    const first = loadJwtKeys(dir.path);
    const second = rotateJwtKeys(dir.path, first);
    expect(Buffer.from(second.current)).not.toEqual(Buffer.from(first.current));
    expect(second.previous).toEqual(first.current);
    expect(Buffer.from(loadJwtKeys(dir.path).previous!)).toEqual(Buffer.from(first.current));
    expect(mode(join(dir.path, "jwt-previous.key"))).toBe(0o600);
    rotateJwtKeys(dir.path, second);
    expect(Buffer.from(loadJwtKeys(dir.path).previous!)).toEqual(Buffer.from(second.current));
  });

  test("that is missing is created again, even if its predecessor exists", () => {
    using dir = tempDir();
    const first = loadJwtKeys(dir.path);
    rotateJwtKeys(dir.path, first);
    rmSync(join(dir.path, "jwt.key"));
    expect(Buffer.from(loadJwtKeys(dir.path).previous!)).toEqual(Buffer.from(first.current));
  });
});
