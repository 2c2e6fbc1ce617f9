import { expect, test } from "bun:test";
import { sharedTokenKindSchema } from "@fleet/protocol";
import { hashToken, isGuessable, makeToken } from "./secret-text.ts";

test("a token names its kind, can be found by a pattern, and is unique (H5)", () => {
  const made = sharedTokenKindSchema.options.map((kind) => makeToken(kind));
  for (const [i, token] of made.entries()) {
    expect(token).toMatch(/^fle_[epo]_[0-9A-Za-z]{43}$/);
    expect(token[4]).toBe(sharedTokenKindSchema.options[i]![0]);
    expect(isGuessable(token)).toBe(false);
  }
  expect(new Set(Array.from({ length: 1000 }, () => makeToken("push"))).size).toBe(1000);
});

test("32 characters can't be guessed, 31 might be (H5)", () => {
  expect([isGuessable("0".repeat(31)), isGuessable("0".repeat(32))]).toEqual([true, false]);
});

test("the stored hash is SHA-256 (FIPS 180-4, example)", () => {
  expect(hashToken("abc")).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
});
