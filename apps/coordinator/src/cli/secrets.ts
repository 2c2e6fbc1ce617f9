/**
 * `fleet-coordinator secrets DIR…`: creates a file for each missing token, for the first start of a deployment. It never
 * changes an existing file, and each file appears complete or not at all. Concurrent runs, and several directories, end up
 * with the same tokens. (H1, H5)
 */
import { randomBytes } from "node:crypto";
import {
  closeSync,
  fchmodSync,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  rmSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import type { SharedTokenKind } from "@fleet/protocol";
import { makeToken } from "../auth/secret-text.ts";
import { fileProblem, syncDirectory } from "@fleet/daemon";

/** The file names. `serve` reads the files that the variables `FLEET_…_TOKEN_FILE` name. */
export const SECRET_NAMES = ["enroll_token", "operator_token", "push_token"] as const;
export type SecretName = (typeof SECRET_NAMES)[number];

const KIND_OF: Readonly<Record<SecretName, SharedTokenKind>> = {
  enroll_token: "enroll",
  operator_token: "operator",
  push_token: "push",
};

/** A longer file holds no token. Generated tokens have 49 characters; users may put in others. */
const FILE_BYTES_MAX = 4096;

type SecretsCode =
  | "secrets_missing"
  | "secrets_no_directory"
  | "secrets_io"
  | "secrets_permission"
  | "secrets_conflict"
  | "secrets_read_only"
  | "secrets_no_space";

const CODE_OF_ERRNO: Readonly<Record<string, SecretsCode>> = {
  ENOENT: "secrets_no_directory",
  ENOTDIR: "secrets_no_directory",
  EACCES: "secrets_permission",
  EPERM: "secrets_permission",
  EROFS: "secrets_read_only",
  ENOSPC: "secrets_no_space",
  EDQUOT: "secrets_no_space",
};

/** Ends `secrets`. Files created before it stay, and the next run continues from there. */
export class SecretsError extends Error {
  readonly code: SecretsCode;

  constructor(code: SecretsCode, message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

/** The paths of one token's files. */
export interface SecretFiles {
  readonly created: readonly string[];
  readonly existing: readonly string[];
}

/**
 * Puts the same token into each of `dirs`, with permissions `mode` regardless of the umask. Throws SecretsError if a directory
 * is missing or can't be written, or if existing files differ.
 */
export function makeSecret(name: SecretName, dirs: readonly string[], mode: number): SecretFiles {
  const created: string[] = [];
  const existing: string[] = [];
  // Sorted, so that concurrent runs start with the same directory, whatever order they were given.
  const ordered = [...new Set(dirs)].toSorted();
  let token = ordered.map((dir) => readToken(dir, name)).find((found) => found !== undefined);
  token ??= makeToken(KIND_OF[name]);
  for (const dir of ordered) {
    const exists = readToken(dir, name) !== undefined || !publish(dir, name, token, mode);
    (exists ? existing : created).push(join(dir, name));
    const published = readToken(dir, name);
    // A concurrent run may have been first.
    if (dir === ordered[0] && published !== undefined) token = published;
    if (published !== token)
      throw new SecretsError(
        "secrets_conflict",
        `${name} differs between ${ordered.join(" and ")}; remove the wrong file and run this again`,
      );
  }
  return { created, existing };
}

/** The token from the first of `dirs` that has it. Throws SecretsError if none has. */
export function showSecret(dirs: readonly string[], name: SecretName): string {
  for (const dir of dirs) {
    const token = readToken(dir, name);
    if (token !== undefined) return token;
  }
  throw new SecretsError(
    "secrets_missing",
    `there is no ${name} in ${dirs.join(" or ")}; run secrets without --show to create it`,
  );
}

/** One line that lists the files, without their tokens. */
export function describeSecrets(secrets: readonly SecretFiles[]): string {
  const created = secrets.flatMap((secret) => secret.created);
  const existing = secrets.flatMap((secret) => secret.existing);
  return [
    ...(created.length > 0 ? [`created ${created.join(", ")}`] : []),
    ...(existing.length > 0 ? [`already present: ${existing.join(", ")}`] : []),
  ].join("; ");
}

function readToken(dir: string, name: SecretName): string | undefined {
  const path = join(dir, name);
  let text: string;
  try {
    text = readFileSync(path, "utf8").trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw asSecretsError(path, error);
  }
  if (text === "" || text.length > FILE_BYTES_MAX)
    throw new SecretsError(
      "secrets_conflict",
      `${path} holds no token; remove it and run this again to create one`,
    );
  return text;
}

/** Creates the file, complete from the start, by link(2), which fails if the name exists; then returns false. */
function publish(dir: string, name: SecretName, token: string, mode: number): boolean {
  const staged = join(dir, `.${name}.${randomBytes(8).toString("hex")}.tmp`);
  try {
    const fd = openSync(staged, "wx", 0o600);
    try {
      writeSync(fd, `${token}\n`);
      fchmodSync(fd, mode);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    linkSync(staged, join(dir, name));
    syncDirectory(dir);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw asSecretsError(dir, error);
  } finally {
    rmSync(staged, { force: true });
  }
}

function asSecretsError(path: string, error: unknown): SecretsError {
  const code = CODE_OF_ERRNO[(error as NodeJS.ErrnoException).code ?? ""] ?? "secrets_io";
  return new SecretsError(code, fileProblem(path, error), error);
}
