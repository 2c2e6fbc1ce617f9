/** Reads a listener's certificate and key files and checks that they can be used together. Used by the config and TlsRenewal. */
import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createSecureContext } from "node:tls";

/** Paths of PEM files. `cert` may also hold the intermediate certificates; `key` must have no passphrase. */
export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
}

/** The contents of both files. */
export interface TlsPair {
  readonly cert: string;
  readonly key: string;
  /** When the certificate expires, Unix ms. */
  readonly expiresMs: number;
}

/** A usable pair, or the problem: the file's key in the config, its path and the reason. */
export type TlsPairRead =
  | { readonly at: "ok"; readonly pair: TlsPair }
  | { readonly at: "bad"; readonly problem: string };

/** Reads both files. Accepts an expired certificate: clients refuse it and name the reason. */
export function readTlsPair(files: TlsFiles): TlsPairRead {
  try {
    const cert = textOf("cert", files);
    const certificate = firstCertificate(cert, files);
    const key = textOf("key", files);
    if (!certificate.checkPrivateKey(privateKey(key, files)))
      throw new FileProblem("key", files, `is not the key of ${files.cert}`);
    assertUsable(cert, key, files);
    return { at: "ok", pair: { cert, key, expiresMs: Date.parse(certificate.validTo) } };
  } catch (error) {
    if (error instanceof FileProblem) return { at: "bad", problem: error.message };
    throw error;
  }
}

class FileProblem extends Error {
  readonly code = "tls_file";
  constructor(which: keyof TlsFiles, files: TlsFiles, problem: string) {
    super(`${which}: ${files[which]} ${problem}`);
  }
}

function textOf(which: keyof TlsFiles, files: TlsFiles): string {
  try {
    return readFileSync(files[which], "utf8");
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new FileProblem(which, files, `can't be read: ${code ?? message}`);
  }
}

function firstCertificate(cert: string, files: TlsFiles): X509Certificate {
  try {
    return new X509Certificate(cert);
  } catch {
    throw new FileProblem("cert", files, "holds no certificate in PEM");
  }
}

function privateKey(key: string, files: TlsFiles): KeyObject {
  try {
    return createPrivateKey(key);
  } catch {
    throw new FileProblem("key", files, "holds no private key in PEM, or one with a passphrase");
  }
}

/** Catches what only a listener would refuse, such as a damaged chain. */
function assertUsable(cert: string, key: string, files: TlsFiles): void {
  try {
    createSecureContext({ cert, key });
  } catch (error) {
    throw new FileProblem("cert", files, `can't be used: ${(error as Error).message}`);
  }
}
