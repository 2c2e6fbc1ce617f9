/** The certificate authority an agent is told to trust, instead of the public ones: read once, when the config is. (H5) */
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";

const BLOCK = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

/** What the file holds, in PEM, or what is wrong with it, its path first. It may hold several certificates. */
export type CaFileRead =
  | { readonly at: "ok"; readonly ca: string }
  | { readonly at: "bad"; readonly problem: string };

/** Other text in the file, as bundles have it between their certificates, is left out. */
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
