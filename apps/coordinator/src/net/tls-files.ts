/** The certificate of a listener and its key, as files: read, and checked as far as can be without a peer. */
import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createSecureContext } from "node:tls";

/** Paths of PEM files. `cert` may be followed by the intermediate certificates; `key` has no passphrase. */
export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
}

/** What the files hold, as text. */
export interface TlsPair {
  readonly cert: string;
  readonly key: string;
  /** When the certificate ends, ms, Unix. */
  readonly expiresMs: number;
}

/** A pair that can be offered, or what is wrong with it: the file's key in the config, its path and the reason. */
export type TlsPairRead =
  | { readonly at: "ok"; readonly pair: TlsPair }
  | { readonly at: "bad"; readonly problem: string };

/** Reads both files. An expired certificate is a pair like any other: who connects will refuse it and say why. */
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
    throw new FileProblem("key", files, "holds no private key in PEM without a passphrase");
  }
}

/** What a listener would refuse, such as a chain with something else in it. */
function assertUsable(cert: string, key: string, files: TlsFiles): void {
  try {
    createSecureContext({ cert, key });
  } catch (error) {
    throw new FileProblem("cert", files, `can't be used: ${(error as Error).message}`);
  }
}
