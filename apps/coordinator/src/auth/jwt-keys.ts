/**
 * The keys that sign agents' credentials: `DIR/jwt.key`, and `DIR/jwt-previous.key`, which is taken but signs no more.
 * Files of 32 bytes, mode 0600, so that a restart invalidates nothing. For `:memory:` they are new each time. (H5)
 */
import { randomBytes } from "node:crypto";
import {
  closeSync,
  fchmodSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { MEMORY } from "../db/open.ts";

const KEY_BYTES = 32;
const CURRENT = "jwt.key";
const PREVIOUS = "jwt-previous.key";

/** The key that signs, and the one before, if there was one. */
export interface JwtKeys {
  readonly current: Uint8Array;
  readonly previous: Uint8Array | undefined;
}

/** A key file is damaged; using another key would turn every agent's credentials away. */
export class KeyFileError extends Error {
  readonly code = "key_file";
}

/** Reads the keys, and makes the first one. Throws KeyFileError, and what the file system throws. */
export function loadJwtKeys(dataDir: string): JwtKeys {
  if (dataDir === MEMORY) return { current: randomBytes(KEY_BYTES), previous: undefined };
  const current = readKey(join(dataDir, CURRENT)) ?? writeKey(dataDir, CURRENT, newKey());
  return { current, previous: readKey(join(dataDir, PREVIOUS)) };
}

/** Makes a new key, on disk when this returns; the current one becomes the previous one, whose predecessor is gone for good. */
export function rotateJwtKeys(dataDir: string, { current }: JwtKeys): JwtKeys {
  if (dataDir === MEMORY) return { current: newKey(), previous: current };
  // In this order: killed in between, both are the current one.
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
  throw new KeyFileError(`${path} should hold ${KEY_BYTES} bytes, it holds ${key.length}`);
}

function writeKey(dir: string, name: string, key: Uint8Array): Uint8Array {
  const path = join(dir, name);
  const staged = `${path}.new`;
  const fd = openSync(staged, "w", 0o600);
  // One that an earlier process left half made keeps the mode it had.
  fchmodSync(fd, 0o600);
  writeSync(fd, key);
  fsyncSync(fd);
  closeSync(fd);
  renameSync(staged, path);
  const parent = openSync(dir, "r");
  fsyncSync(parent);
  closeSync(parent);
  return key;
}
