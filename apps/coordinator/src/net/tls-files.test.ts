import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TestAuthority } from "@fleet/daemon/testing";
import { readTlsPair } from "./tls-files.ts";

const authority = new TestAuthority();
const pair = authority.issue();
const other = authority.issue();

/** What is read of files with these contents; `undefined`: there is no such file. Directories are cut from problems. */
function read(cert: string | undefined, key: string | undefined): unknown {
  const dir = mkdtempSync(join(tmpdir(), "fleet-tls-"));
  try {
    if (cert !== undefined) writeFileSync(join(dir, "c.pem"), cert);
    if (key !== undefined) writeFileSync(join(dir, "k.pem"), key);
    const result = readTlsPair({ cert: join(dir, "c.pem"), key: join(dir, "k.pem") });
    return result.at === "bad" ? result.problem.replaceAll(`${dir}/`, "") : result.pair;
  } finally {
    rmSync(dir, { recursive: true });
  }
}

describe("certificate and key files", () => {
  test("are read unchanged, with intermediate certificates, together with the expiry", () => {
    const expiresMs = Date.UTC(2049, 11, 31, 23, 59, 59);
    expect(read(pair.cert, pair.key)).toEqual({ ...pair, expiresMs });
    const chain = pair.cert + authority.cert;
    expect(read(chain, pair.key)).toMatchObject({ cert: chain });
  });

  test.each([
    ["no certificate's file", undefined, pair.key, "cert: c.pem can't be read: ENOENT"],
    ["no key's file", pair.cert, undefined, "key: k.pem can't be read: ENOENT"],
    ["garbage for a certificate", "x", pair.key, "cert: c.pem holds no certificate in PEM"],
    ["an empty file for one", "", pair.key, "cert: c.pem holds no certificate in PEM"],
    ["the key for the certificate", pair.key, pair.key, "cert: c.pem holds no certificate in PEM"],
    [
      "garbage for a key",
      pair.cert,
      "x",
      "key: k.pem holds no private key in PEM, or one with a passphrase",
    ],
    ["another's key", pair.cert, other.key, "key: k.pem is not the key of c.pem"],
    [
      "the issuer first",
      authority.cert + pair.cert,
      pair.key,
      "key: k.pem is not the key of c.pem",
    ],
  ])("with %s are refused with the file and the reason", (_what, cert, key, problem) => {
    expect(read(cert, key)).toBe(problem);
  });

  test("with a truncated chain are refused", () => {
    const cut = authority.cert.slice(0, 200);
    expect(read(pair.cert + cut, pair.key)).toStartWith("cert: c.pem can't be used: ");
  });
});
