import { describe, expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { jwtVerify, SignJWT } from "jose";
import { signJwt, verifyJwt } from "./jwt.ts";

const KEY = randomBytes(32);
const CLAIMS = { sub: "hill", iid: "0123456789abcdef", epoch: 3 };

describe("a JWT", () => {
  test("is what other implementations sign and verify", async () => {
    const ours = signJwt(CLAIMS, KEY);
    expect((await jwtVerify(ours, KEY, { algorithms: ["HS256"] })).payload).toEqual(CLAIMS);
    const theirs = await new SignJWT(CLAIMS).setProtectedHeader({ alg: "HS256" }).sign(KEY);
    expect(verifyJwt(theirs, KEY)).toEqual(CLAIMS);
    expect(ours).toBe(theirs);
  });

  test("is refused with any other byte, in any place", () => {
    const token = signJwt(CLAIMS, KEY);
    fc.assert(
      fc.property(
        fc.nat(token.length - 1),
        fc.string({ unit: "binary-ascii", minLength: 1, maxLength: 1 }),
        (at, byte) => {
          fc.pre(token[at] !== byte);
          expect(verifyJwt(token.slice(0, at) + byte + token.slice(at + 1), KEY)).toBeUndefined();
        },
      ),
      { numRuns: 2000 },
    );
  });

  test("is refused with more or fewer bytes", () => {
    const token = signJwt(CLAIMS, KEY);
    for (const text of [
      "",
      ".",
      "..",
      "...",
      `${token}.`,
      `${token}=`,
      `${token} `,
      `.${token}`,
      token.slice(0, -1),
    ])
      expect(verifyJwt(text, KEY)).toBeUndefined();
    for (let length = 0; length < token.length; length++)
      expect(verifyJwt(token.slice(0, length), KEY)).toBeUndefined();
  });

  test("cannot choose its algorithm, nor its key", async () => {
    const [, payload] = signJwt(CLAIMS, KEY).split(".");
    const none = Buffer.from('{"alg":"none"}').toString("base64url");
    for (const forged of [`${none}.${payload}.`, `${none}.${payload}`])
      expect(verifyJwt(forged, KEY)).toBeUndefined();
    const other = await new SignJWT(CLAIMS)
      .setProtectedHeader({ alg: "HS512" })
      .sign(randomBytes(64));
    expect(verifyJwt(other, KEY)).toBeUndefined();
    expect(verifyJwt(signJwt(CLAIMS, randomBytes(32)), KEY)).toBeUndefined();
  });

  test("of more than 8192 characters is refused, though it is signed", () => {
    const long = (chars: number): string => signJwt({ sub: "x".repeat(chars) }, KEY);
    expect(verifyJwt(long(6000), KEY)).toEqual({ sub: "x".repeat(6000) });
    expect(verifyJwt(long(6200), KEY)).toBeUndefined();
  });
});
