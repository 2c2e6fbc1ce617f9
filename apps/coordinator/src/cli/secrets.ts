/**
 * `fleet-coordinator secrets DIR…`: makes the tokens that are missing, each as a file of its own, and never changes one that
 * is there. Each appears whole or not at all; of several runs at once, and in several directories, one token is left that all
 * of them see. For the first start of a deployment. (H1, H5)
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
import { fileProblem } from "@fleet/daemon";

/** The files, and what reads them: the variables `FLEET_…_TOKEN_FILE`. */
export const SECRET_NAMES = ["enroll_token", "operator_token", "push_token"] as const;
export type SecretName = (typeof SECRET_NAMES)[number];

const KIND_OF: Readonly<Record<SecretName, SharedTokenKind>> = {
  enroll_token: "enroll",
  operator_token: "operator",
  push_token: "push",
};

/** A token of ours has 49 characters; one that somebody else put there may be another. Longer is no token. */
const FILE_BYTES_MAX = 4096;

/** How each failure ends the process; the numbers are those of `fleet-agent install`. */
const EXITS = {
  no_secret: 1,
  no_directory: 66,
  io: 74,
  permission: 77,
  conflict: 78,
  read_only: 80,
  no_space: 81,
} as const;
const CODE_OF_ERRNO: Readonly<Record<string, keyof typeof EXITS>> = {
  ENOENT: "no_directory",
  ENOTDIR: "no_directory",
  EACCES: "permission",
  EPERM: "permission",
  EROFS: "read_only",
  ENOSPC: "no_space",
  EDQUOT: "no_space",
};

/** Ends `secrets`. What was made before it stays, and the next run goes on from there. */
export class SecretsError extends Error {
  readonly code: keyof typeof EXITS;

  constructor(code: keyof typeof EXITS, message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }

  get exitCode(): number {
    return EXITS[this.code];
  }
}

/** Paths of what was made and of what was found. */
export interface SecretMade {
  readonly made: readonly string[];
  readonly found: readonly string[];
}

/**
 * Puts one token, the same, into each of `dirs`, with permissions `mode` whatever the umask. Throws SecretsError: a directory
 * that is missing or can't be written, or files that are there and differ.
 */
export function makeSecret(name: SecretName, dirs: readonly string[], mode: number): SecretMade {
  const made: string[] = [];
  const found: string[] = [];
  // In one order, so that two runs that name the directories differently begin at the same one.
  const ordered = [...new Set(dirs)].toSorted();
  let token = ordered.map((dir) => readToken(dir, name)).find((there) => there !== undefined);
  token ??= makeToken(KIND_OF[name]);
  for (const dir of ordered) {
    const isThere = readToken(dir, name) !== undefined || !publish(dir, name, token, mode);
    (isThere ? found : made).push(join(dir, name));
    const settled = readToken(dir, name);
    // Another run may have been first.
    if (dir === ordered[0] && settled !== undefined) token = settled;
    if (settled !== token)
      throw new SecretsError(
        "conflict",
        `${name} is not the same in ${ordered.join(" and ")}; remove the one that is wrong`,
      );
  }
  return { made, found };
}

/** The token of that name in the first of `dirs` that has it. Throws SecretsError when none has. */
export function showSecret(dirs: readonly string[], name: SecretName): string {
  for (const dir of dirs) {
    const token = readToken(dir, name);
    if (token !== undefined) return token;
  }
  throw new SecretsError("no_secret", `there is no ${name} in ${dirs.join(" or ")}`);
}

/** What was done, in one line; no token is in it. */
export function describeSecrets(secrets: readonly SecretMade[]): string {
  const made = secrets.flatMap((secret) => secret.made);
  const found = secrets.flatMap((secret) => secret.found);
  return [
    ...(made.length > 0 ? [`made ${made.join(", ")}`] : []),
    ...(found.length > 0 ? [`there already: ${found.join(", ")}`] : []),
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
    throw new SecretsError("conflict", `${path} holds no token; remove it to have one made`);
  return text;
}

/** A name that is given by link(2) is given once, to a file that is whole. False when it is taken. */
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

function syncDirectory(dir: string): void {
  const fd = openSync(dir, "r");
  fsyncSync(fd);
  closeSync(fd);
}

function asSecretsError(path: string, error: unknown): SecretsError {
  const code = CODE_OF_ERRNO[(error as NodeJS.ErrnoException).code ?? ""] ?? "io";
  return new SecretsError(code, fileProblem(path, error), error);
}
