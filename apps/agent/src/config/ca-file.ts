/** Reads the certificate authorities that an agent trusts instead of the public ones. Read together with the config. (H5) */
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";

const BLOCK = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

/** The certificates in the file, in PEM, or a problem that starts with the path. */
export type CaFileRead =
  | { readonly at: "ok"; readonly ca: string }
  | { readonly at: "bad"; readonly problem: string };

/** Reads one or more certificates. Other text, which bundles have between certificates, is ignored. */
export function readCaFile(path: string): CaFileRead {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? String(error);
    return { at: "bad", problem: `${path} can't be read: ${reason}` };
  }
  const blocks = text.match(BLOCK) ?? [];
  if (blocks.length === 0) return { at: "bad", problem: `${path} holds no certificate in PEM` };
  const broken = blocks.findIndex((block) => !isCertificate(block));
  if (broken >= 0)
    return { at: "bad", problem: `${path}: certificate ${broken + 1} in it is damaged` };
  return { at: "ok", ca: blocks.join("\n") };
}

function isCertificate(block: string): boolean {
  try {
    return new X509Certificate(block).subject !== undefined;
  } catch {
    return false;
  }
}
