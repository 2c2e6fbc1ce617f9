/**
 * Signs and verifies JWTs with HS256 (RFC 7515, RFC 7519), synchronously: WebCrypto, and the libraries on it, run on the
 * runtime's few threads, where a check would wait for whatever blocks them. Used by credentials.ts. (H5, H12)
 */
import { createHmac, timingSafeEqual } from "node:crypto";

/** base64url of `{"alg":"HS256"}`. The only header signed and accepted, so no token can choose its algorithm. */
const HEADER = "eyJhbGciOiJIUzI1NiJ9";
/** A longer token is refused before it is hashed. */
const TOKEN_CHARS_MAX = 8192;

/** The claims as a compact JWS. */
export function signJwt(claims: Readonly<Record<string, unknown>>, key: Uint8Array): string {
  const signed = `${HEADER}.${Buffer.from(JSON.stringify(claims)).toString("base64url")}`;
  return `${signed}.${hmac(signed, key).toString("base64url")}`;
}

/** The claims of a token signed with `key`; undefined for any other text. Does not look at the expiry. */
export function verifyJwt(token: string, key: Uint8Array): unknown {
  if (token.length > TOKEN_CHARS_MAX || !token.startsWith(`${HEADER}.`)) return undefined;
  const dot = token.lastIndexOf(".");
  if (dot <= HEADER.length) return undefined;
  const signature = Buffer.from(token.slice(dot + 1), "base64url");
  const expected = hmac(token.slice(0, dot), key);
  // Decoding skips characters that are not base64url; such a text is not the token that was issued.
  if (signature.length !== expected.length || !timingSafeEqual(signature, expected))
    return undefined;
  if (signature.toString("base64url") !== token.slice(dot + 1)) return undefined;
  try {
    const claims = Buffer.from(token.slice(HEADER.length + 1, dot), "base64url").toString("utf8");
    return JSON.parse(claims) as unknown;
  } catch {
    return undefined;
  }
}

function hmac(text: string, key: Uint8Array): Buffer {
  return createHmac("sha256", key).update(text).digest();
}
