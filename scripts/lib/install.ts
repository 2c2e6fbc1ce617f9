/**
 * Brings `node_modules` up to date. Every script calls this first, so that one command is enough on a fresh machine. Scripts
 * must therefore not import third-party packages when they load.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { capture } from "./capture.ts";
import { root } from "./root.ts";

const stampFile = join(root, "node_modules", ".installed");

/** Installs the versions in `bun.lock`, unless that is done already. Prints nothing unless it fails, and then exits with 1. */
export async function ensureInstalled(): Promise<void> {
  const wanted = Bun.hash(readFileSync(join(root, "bun.lock"))).toString(16);
  if (existsSync(stampFile) && readFileSync(stampFile, "utf8") === wanted) return;
  // Not plain `bun`, which need not be on PATH under `npx -y bun@… run`.
  const { code, output } = await capture([process.execPath, "install", "--frozen-lockfile"]);
  if (code !== 0) {
    process.stderr.write(`${output}\nbun install failed (exit ${code})\n`);
    process.exit(1);
  }
  writeFileSync(stampFile, wanted);
}
