/**
 * The keys of agents' credentials: `DIR/jwt.key` signs and verifies, `DIR/jwt-previous.key` only verifies. Each file holds
 * 32 bytes with mode 0600, so that a restart invalidates no credentials. For `:memory:` the keys are new each time. (H5)
 */
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { writeFileAtomically } from "@fleet/daemon";
import { MEMORY } from "../db/open.ts";

const KEY_BYTES = 32;
const CURRENT = "jwt.key";
const PREVIOUS = "jwt-previous.key";

/** The key that signs, and its predecessor if there was one. */
export interface JwtKeys {
  readonly current: Uint8Array;
  readonly previous: Uint8Array | undefined;
}

/** A key file is damaged. It is not replaced, because a new key would invalidate every agent's credentials. */
export class KeyFileError extends Error {
  readonly code = "key_file";
}

/** Reads the keys; makes the first one. Throws KeyFileError and file system errors. */
export function loadJwtKeys(dataDir: string): JwtKeys {
  if (dataDir === MEMORY) return { current: newKey(), previous: undefined };
  const current = readKey(join(dataDir, CURRENT)) ?? writeKey(dataDir, CURRENT, newKey());
  return { current, previous: readKey(join(dataDir, PREVIOUS)) };
}

/** Makes a new key and syncs it to disk. The current key becomes the previous one, and the previous one is deleted. */
export function rotateJwtKeys(dataDir: string, { current }: JwtKeys): JwtKeys {
  if (dataDir === MEMORY) return { current: newKey(), previous: current };
  // In this order: after a crash in between, both files hold the current key.
  writeKey(dataDir, PREVIOUS, current);
  return { current: writeKey(dataDir, CURRENT, newKey()), previous: current };
}

function newKey(): Uint8Array {
  return randomBytes(KEY_BYTES);
}

function readKey(path: string): Uint8Array | undefined {
  let key: Uint8Array;
  try {
    key = readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  if (key.length === KEY_BYTES) return key;
  throw new KeyFileError(
    `${path} should hold ${KEY_BYTES} bytes but holds ${key.length}; restore it from a backup`,
  );
}

function writeKey(dir: string, name: string, key: Uint8Array): Uint8Array {
  writeFileAtomically(join(dir, name), key);
  return key;
}
