/**
 * The agent's identity in `<state-dir>/identity.json`: its node id and the refresh token that proves it. The id is the one of the
 * flag, variable or config, else the stored one, else one made from the host name. (A14, H5)
 */
import { readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { type Clock, type Log, writeFileAtomically } from "@fleet/daemon";
import { type NodeId, nodeIdFrom, nodeIdSchema } from "@fleet/protocol";
import { z } from "zod";

/** The name of the file in the state directory. */
export const IDENTITY_FILE = "identity.json";
const FILE_BYTES_MAX = 64 * 1024;
const SUFFIX_CHARS = 6;
const BASE32 = "abcdefghijklmnopqrstuvwxyz234567";
/** Room for `-` and the suffix within an id's 64 characters. */
const HOST_CHARS_MAX = 57;
const FALLBACK_HOST = "node";

const fileSchema = z.object({ node_id: nodeIdSchema, refresh_token: z.string().min(1).optional() });

/** The content of the file. */
export type StoredIdentity = z.infer<typeof fileSchema>;

/** Parses the content of the file. Throws if it is not valid. */
export function parseIdentity(text: string): StoredIdentity {
  if (text.length > FILE_BYTES_MAX) throw new Error(`longer than ${FILE_BYTES_MAX} bytes`);
  return fileSchema.parse(JSON.parse(text));
}

/** What the identity is made from. Without `stateDir` nothing is read or stored. */
export interface IdentityOptions {
  readonly name: NodeId | undefined;
  readonly stateDir: string | undefined;
  readonly hostname: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** The agent's id and refresh token, and the only writer of the file that stores them. */
export class Identity {
  readonly nodeId: NodeId;
  readonly #path: string | undefined;
  readonly #log: Log;
  #refreshToken: string | undefined;

  constructor(
    nodeId: NodeId,
    refreshToken: string | undefined,
    path: string | undefined,
    log: Log,
  ) {
    this.nodeId = nodeId;
    this.#refreshToken = refreshToken;
    this.#path = path;
    this.#log = log;
  }

  get refreshToken(): string | undefined {
    return this.#refreshToken;
  }

  /** Stores `token` for the next start. If that fails it is logged, and the token is kept in memory. */
  keepRefreshToken(token: string): void {
    if (token === this.#refreshToken) return;
    this.#refreshToken = token;
    this.save();
  }

  /** Replaces the file atomically and syncs it. A failure is logged. */
  save(): void {
    if (this.#path === undefined) return;
    const body = { node_id: this.nodeId, refresh_token: this.#refreshToken };
    try {
      writeFileAtomically(this.#path, `${JSON.stringify(body)}\n`);
    } catch (err) {
      this.#log.warn(
        { err, path: this.#path },
        "could not store the identity; after a restart this node enrols again",
      );
    }
  }
}

/**
 * Loads the identity, or creates one. An invalid file is moved aside and logged. The refresh token belongs to the id it is
 * stored with; it is not used if another name is configured.
 */
export function loadIdentity(options: IdentityOptions): Identity {
  const { name, stateDir, hostname, log } = options;
  if (stateDir === undefined) {
    const nodeId = name ?? nodeIdFrom(hostname) ?? (FALLBACK_HOST as NodeId);
    return new Identity(nodeId, undefined, undefined, log);
  }
  const path = join(stateDir, IDENTITY_FILE);
  const stored = readStored(path, options);
  if (stored !== undefined && (name === undefined || name === stored.node_id))
    return new Identity(stored.node_id, stored.refresh_token, path, log);
  if (name !== undefined) return new Identity(name, undefined, path, log);
  const identity = new Identity(generateId(hostname), undefined, path, log);
  identity.save();
  return identity;
}

function readStored(path: string, options: IdentityOptions): StoredIdentity | undefined {
  const { clock, log } = options;
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    return setAside(err);
  }
  try {
    return parseIdentity(text);
  } catch (err) {
    return setAside(err);
  }

  function setAside(err: unknown): undefined {
    const aside = `${path}.corrupt-${clock.nowMs()}`;
    try {
      renameSync(path, aside);
      log.warn(
        { err, aside },
        "the identity file is not valid and was moved aside; this node enrols again",
      );
    } catch {
      log.warn(
        { err, path },
        "the identity file is not valid and could not be moved aside; remove it",
      );
    }
  }
}

function generateId(hostname: string): NodeId {
  const host = (nodeIdFrom(hostname) ?? FALLBACK_HOST).slice(0, HOST_CHARS_MAX);
  const bytes = crypto.getRandomValues(new Uint8Array(SUFFIX_CHARS));
  const suffix = Array.from(bytes, (byte) => BASE32[byte % BASE32.length]).join("");
  return nodeIdSchema.parse(`${host}-${suffix}`);
}
