/**
 * Brings `node_modules` up to date before anything that needs it. Called first by every script, so that one command is
 * enough on a fresh machine; therefore scripts import no package of others when they load.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./root.ts";

const stampFile = join(root, "node_modules", ".installed");

/** Installs exactly what `bun.lock` says unless that was done before. Says nothing unless it fails; then it exits with 1. */
export async function ensureInstalled(): Promise<void> {
  const wanted = Bun.hash(readFileSync(join(root, "bun.lock"))).toString(16);
  if (existsSync(stampFile) && readFileSync(stampFile, "utf8") === wanted) return;
  // Not bare `bun`: under `npx -y bun@… run` it is not on every shell's PATH.
  const child = Bun.spawn([process.execPath, "install", "--frozen-lockfile"], {
    cwd: root,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, code] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.exited,
  ]);
  if (code !== 0) {
    process.stderr.write(`${stdout}${stderr}\nbun install failed (exit ${code})\n`);
    process.exit(1);
  }
  writeFileSync(stampFile, wanted);
}
