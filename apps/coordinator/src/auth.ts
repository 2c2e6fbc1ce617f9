/**
 * Who may do what. Shared tokens (enrolment, push, operator) come from config and are compared in constant time; an agent
 * trades its enrolment token for credentials of its own, signed with a key kept beside the database, so that a restart
 * invalidates nothing and a rotated enrolment token strands nobody. (H5)
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
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
import type { Clock } from "@fleet/daemon";
import {
  type InstanceId,
  instanceIdSchema,
  type NodeId,
  nodeIdSchema,
  type TokenKind,
} from "@fleet/protocol";
import { jwtVerify, SignJWT } from "jose";
import { z } from "zod";
import { MEMORY } from "./db/open.ts";

const ACCESS_MS = 3_600_000;
const REFRESH_MS = 7 * 86_400_000;
const KEY_BYTES = 32;
const ISSUER = "fleet-coordinator";

/** The shared secrets. Empty lists with `insecureDev` let everybody in. */
export interface SharedTokens {
  /** The current enrolment token and, while it is being rotated, the one before. */
  readonly enroll: readonly string[];
  /** Tokens of plain nodes. */
  readonly push: readonly string[];
  readonly operator: readonly string[];
  /** No token configured is taken as none required. For trials on one machine. */
  readonly insecureDev: boolean;
}

/** What an access token says of its bearer. */
export interface AgentClaims {
  readonly nodeId: NodeId;
  readonly instanceId: InstanceId;
  readonly epoch: number;
}

/** The bearer of an access token, and until when it is one, Unix ms. */
export interface AccessClaims extends AgentClaims {
  readonly expiresMs: number;
}

/** What a valid token is, and whose when it is one node's. */
export interface Bearer {
  readonly kind: TokenKind;
  readonly nodeId: NodeId | undefined;
}

/** A fresh pair of agent credentials. */
export interface Credentials {
  readonly accessToken: string;
  readonly accessExpiresMs: number;
  readonly refreshToken: string;
}

const accessClaimsSchema = z.object({
  sub: nodeIdSchema,
  iid: instanceIdSchema,
  epoch: z.int().min(1),
  exp: z.int(),
  use: z.literal("access"),
});
const refreshClaimsSchema = z.object({ sub: nodeIdSchema, use: z.literal("refresh") });

const SHARED_KINDS = ["enroll", "push", "operator"] as const;
type SharedKind = (typeof SHARED_KINDS)[number];

/** Checks tokens and issues agent credentials. */
export class Auth {
  readonly #clock: Clock;
  readonly #key: Uint8Array;
  readonly #tokens: SharedTokens;
  readonly #digests: { readonly [K in SharedKind]: readonly Buffer[] };

  constructor(clock: Clock, key: Uint8Array, tokens: SharedTokens) {
    this.#clock = clock;
    this.#key = key;
    this.#tokens = tokens;
    this.#digests = {
      enroll: tokens.enroll.map(digest),
      push: tokens.push.map(digest),
      operator: tokens.operator.map(digest),
    };
  }

  /** Whether `token` is one of the shared tokens of that kind. In constant time for any token. */
  isShared(kind: SharedKind, token: string | undefined): boolean {
    const isOpen = this.#digests[kind].length === 0 && this.#tokens.insecureDev;
    return isOpen || (token !== undefined && this.#isOneOf(kind, token));
  }

  /**
   * What the push token `token` is called, undefined when it is none. What one token may do is counted by this name; a
   * shared token's is its place in the list. In constant time for any token. (T2)
   */
  pushTokenName(token: string): string | undefined {
    const given = digest(token);
    let name = this.#digests.push.length === 0 && this.#tokens.insecureDev ? "none" : undefined;
    for (const [at, one] of this.#digests.push.entries())
      if (timingSafeEqual(one, given)) name = `shared-${at + 1}`;
    return name;
  }

  /**
   * What `token` is; undefined when it opens nothing. A token that is configured for several things is the first of enrol,
   * push and operator. Where no token is needed to enrol, one that is nothing else, or none, enrols.
   */
  async identify(token: string | undefined): Promise<Bearer | undefined> {
    if (token !== undefined) {
      const access = await this.verifyAccess(token);
      if (access !== undefined) return { kind: "access", nodeId: access.nodeId };
      const nodeId = await this.verifyRefresh(token);
      if (nodeId !== undefined) return { kind: "refresh", nodeId };
      // All are compared: which one it is must not show in the time taken.
      const [kind] = SHARED_KINDS.filter((shared) => this.#isOneOf(shared, token));
      if (kind !== undefined) return { kind, nodeId: undefined };
    }
    return this.isShared("enroll", token) ? { kind: "enroll", nodeId: undefined } : undefined;
  }

  /** Credentials for one instance of a node: access for 1 h, refresh for 7 d. */
  async issue(claims: AgentClaims): Promise<Credentials> {
    const nowMs = this.#clock.nowMs();
    // A token's own expiry is in whole seconds.
    const accessExpiresMs = Math.floor((nowMs + ACCESS_MS) / 1000) * 1000;
    const { nodeId, instanceId, epoch } = claims;
    const [accessToken, refreshToken] = await Promise.all([
      this.#sign({ iid: instanceId, epoch, use: "access" }, nodeId, nowMs, accessExpiresMs),
      this.#sign({ use: "refresh" }, nodeId, nowMs, nowMs + REFRESH_MS),
    ]);
    return { accessToken, accessExpiresMs, refreshToken };
  }

  /** The bearer of an access token, or undefined when it isn't one of ours or has expired. */
  async verifyAccess(token: string): Promise<AccessClaims | undefined> {
    const claims = accessClaimsSchema.safeParse(await this.#verify(token)).data;
    if (claims === undefined) return undefined;
    const { sub: nodeId, iid: instanceId, epoch, exp } = claims;
    return { nodeId, instanceId, epoch, expiresMs: exp * 1000 };
  }

  /** The node a refresh token was issued to, or undefined. */
  async verifyRefresh(token: string): Promise<NodeId | undefined> {
    return refreshClaimsSchema.safeParse(await this.#verify(token)).data?.sub;
  }

  #isOneOf(kind: SharedKind, token: string): boolean {
    const given = digest(token);
    let ok = false;
    for (const one of this.#digests[kind]) ok = timingSafeEqual(one, given) || ok;
    return ok;
  }

  #sign(
    payload: Record<string, unknown>,
    nodeId: NodeId,
    issuedMs: number,
    expiresMs: number,
  ): Promise<string> {
    return new SignJWT(payload)
      .setProtectedHeader({ alg: "HS256" })
      .setIssuer(ISSUER)
      .setSubject(nodeId)
      .setIssuedAt(Math.floor(issuedMs / 1000))
      .setExpirationTime(Math.floor(expiresMs / 1000))
      .sign(this.#key);
  }

  async #verify(token: string): Promise<unknown> {
    try {
      const { payload } = await jwtVerify(token, this.#key, {
        algorithms: ["HS256"],
        issuer: ISSUER,
        currentDate: new Date(this.#clock.nowMs()),
      });
      return payload;
    } catch {
      return undefined;
    }
  }
}

/** Hashing first makes the comparison one of equal lengths. */
function digest(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}

/** The key that signs agent credentials: `DIR/jwt.key`, mode 0600, made on first use; a new one each time for `:memory:`. */
export function loadJwtKey(dataDir: string): Uint8Array {
  if (dataDir === MEMORY) return randomBytes(KEY_BYTES);
  const path = join(dataDir, "jwt.key");
  try {
    const key = readFileSync(path);
    if (key.length === KEY_BYTES) return key;
    throw new KeyFileError(`${path} should hold ${KEY_BYTES} bytes, it holds ${key.length}`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  const key = randomBytes(KEY_BYTES);
  const staged = `${path}.new`;
  const fd = openSync(staged, "w", 0o600);
  // One that an earlier process left half made keeps the mode it had.
  fchmodSync(fd, 0o600);
  writeSync(fd, key);
  fsyncSync(fd);
  closeSync(fd);
  renameSync(staged, path);
  return key;
}

/** The key file is damaged; using another key would turn every agent's credentials away. */
export class KeyFileError extends Error {
  readonly code = "key_file";
}
