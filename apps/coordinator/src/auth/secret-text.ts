/**
 * The tokens we make: `fle_`, the first letter of what they are for, `_`, and 43 random letters and digits. So a leaked one
 * is found with `grep -E 'fle_[epo]_[0-9A-Za-z]{43}'`, and nobody can guess one: 62^43 is 2^256. (H5)
 */
import { createHash, randomInt } from "node:crypto";
import type { SharedTokenKind } from "@fleet/protocol";

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const RANDOM_CHARS = 43;
/** 128 bits in hexadecimal digits, the usual `openssl rand -hex 16`. Shorter ones were made by people. */
const UNGUESSABLE_CHARS = 32;

/** A new token. */
export function makeToken(kind: SharedTokenKind): string {
  const chars = Array.from({ length: RANDOM_CHARS }, () => ALPHABET[randomInt(ALPHABET.length)]);
  return `fle_${kind[0]}_${chars.join("")}`;
}

/** `text` without the tokens in it, which somebody may have put where an id belongs. */
export function withoutTokens(text: string): string {
  return text.replaceAll(/fle_([epo])_[0-9A-Za-z]{43}/g, "fle_$1_…");
}

/** A short random id that tells nothing. */
export function makeTokenId(): string {
  return Array.from({ length: 12 }, () => ALPHABET[randomInt(ALPHABET.length)]).join("");
}

/** Whether somebody who tries many may hit on it. */
export function isGuessable(token: string): boolean {
  return token.length < UNGUESSABLE_CHARS;
}

/**
 * What is kept of a token, in hexadecimal digits. A fast hash does: slow ones (scrypt, Argon2) make up for passwords that
 * have few bits, and 2^256 tokens can't be tried however fast each trial is. It must be fast, for a plain node's every
 * connection and an operator's every request pass here.
 */
export function hashToken(token: string): string {
  return createHash("sha256").update(token).digest("hex");
}
