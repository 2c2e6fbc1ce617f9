/**
 * Who this agent is: a node id of its own, and the refresh token that proves it, in `<state-dir>/identity.json`.
 * The id comes from the flag, variable or config, else from that file, else from the host's name. (A14, H5)
 */
import { readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { type Clock, type Log, writeFileAtomically } from "@fleet/daemon";
import { type NodeId, nodeIdFrom, nodeIdSchema } from "@fleet/protocol";
import { z } from "zod";

/** Its file in the state directory. */
export const IDENTITY_FILE = "identity.json";
const FILE_BYTES_MAX = 64 * 1024;
const SUFFIX_CHARS = 6;
const BASE32 = "abcdefghijklmnopqrstuvwxyz234567";
/** Room for `-` and the suffix within an id's 64 characters. */
const HOST_CHARS_MAX = 57;
const FALLBACK_HOST = "node";

const fileSchema = z.object({ node_id: nodeIdSchema, refresh_token: z.string().min(1).optional() });

/** What the file holds. */
export type StoredIdentity = z.infer<typeof fileSchema>;

/** Reads the file's text. Throws when it can't be understood. */
export function parseIdentity(text: string): StoredIdentity {
  if (text.length > FILE_BYTES_MAX) throw new Error(`longer than ${FILE_BYTES_MAX} bytes`);
  return fileSchema.parse(JSON.parse(text));
}

/** What `loadIdentity` goes by. `stateDir` undefined: nothing is read or kept. */
export interface IdentityOptions {
  readonly name: NodeId | undefined;
  readonly stateDir: string | undefined;
  readonly hostname: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** The agent's id and refresh token, and the one writer of the file they lie in. */
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

  /** Keeps `token` for the next start. A disk that won't take it is logged; the token then lives in memory. */
  keepRefreshToken(token: string): void {
    if (token === this.#refreshToken) return;
    this.#refreshToken = token;
    this.save();
  }

  /** Writes the file: whole and synced, or not at all. */
  save(): void {
    if (this.#path === undefined) return;
    const body = { node_id: this.nodeId, refresh_token: this.#refreshToken };
    try {
      writeFileAtomically(this.#path, `${JSON.stringify(body)}\n`);
    } catch (err) {
      this.#log.warn({ err, path: this.#path }, "the identity could not be written");
    }
  }
}

/**
 * Reads or makes the identity. A file that can't be understood is moved aside and reported. A refresh token belongs to the
 * id it is stored with and is given up when another name was asked for.
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
      log.warn({ err, aside }, "the identity file can't be read and was moved aside");
    } catch {
      log.warn({ err, path }, "the identity file can't be read, nor moved aside");
    }
  }
}

function generateId(hostname: string): NodeId {
  const host = (nodeIdFrom(hostname) ?? FALLBACK_HOST).slice(0, HOST_CHARS_MAX);
  const bytes = crypto.getRandomValues(new Uint8Array(SUFFIX_CHARS));
  const suffix = Array.from(bytes, (byte) => BASE32[byte % BASE32.length]).join("");
  return nodeIdSchema.parse(`${host}-${suffix}`);
}
