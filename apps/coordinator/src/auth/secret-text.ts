/**
 * Makes and hashes tokens. A token is `fle_`, the initial of its kind, `_` and 43 random letters and digits: leaked tokens
 * can be found with `grep -E 'fle_[epo]_[0-9A-Za-z]{43}'`, and 62^43 (2^256) can't be guessed. (H5)
 */
import { createHash, randomInt } from "node:crypto";
import type { SharedTokenKind } from "@fleet/protocol";

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const TOKEN_CHARS = 43;
const ID_CHARS = 12;
/** 128 bits as hexadecimal digits, what `openssl rand -hex 16` prints. Shorter tokens may have been chosen by people. */
const UNGUESSABLE_CHARS = 32;

/** A new token. */
export function makeToken(kind: SharedTokenKind): string {
  return `fle_${kind[0]}_${randomChars(TOKEN_CHARS)}`;
}

/** A new token's id; random, so that it reveals nothing. */
export function makeTokenId(): string {
  return randomChars(ID_CHARS);
}

/** `text` with the tokens in it cut short, in case somebody put one where an id belongs. */
export function withoutTokens(text: string): string {
  return text.replaceAll(/fle_([epo])_[0-9A-Za-z]{43}/g, "fle_$1_…");
}

/** Whether a token is so short that it could be found by trying. */
export function isGuessable(token: string): boolean {
  return token.length < UNGUESSABLE_CHARS;
}

/**
 * The hash stored in place of a token, in hexadecimal digits. SHA-256 is enough: slow hashes (scrypt, Argon2) protect
 * passwords of few bits, and nobody can try 2^256 tokens. It must be fast, because it runs for every connection of a plain
 * node and every request of an operator.
 */
export function hashToken(token: string): string {
  return createHash("sha256").update(token).digest("hex");
}

function randomChars(count: number): string {
  return Array.from({ length: count }, () => ALPHABET[randomInt(ALPHABET.length)]).join("");
}
