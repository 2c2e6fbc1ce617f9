/**
 * The credentials an agent receives in exchange for its enrolment token: JWTs for one node, signed with a key kept beside
 * the database. They survive a restart of the coordinator and the rotation of enrolment tokens. (H5, R9)
 */
import type { Clock } from "@fleet/daemon";
import { type InstanceId, instanceIdSchema, type NodeId, nodeIdSchema } from "@fleet/protocol";
import { z } from "zod";
import { type JwtKeys, loadJwtKeys, rotateJwtKeys } from "./jwt-keys.ts";
import { signJwt, verifyJwt } from "./jwt.ts";

const ACCESS_MS = 3_600_000;
const REFRESH_MS = 7 * 86_400_000;
const ISSUER = "fleet-coordinator";
/** Verified access tokens cached, one per agent, about 0.4 kB each. */
const VERIFIED_MAX = 20_000;

/** The agent run an access token is issued to. */
export interface AgentClaims {
  readonly nodeId: NodeId;
  readonly instanceId: InstanceId;
  readonly epoch: number;
}

/** A verified access token; it expires at `expiresMs`, Unix ms. */
export interface AccessClaims extends AgentClaims {
  readonly expiresMs: number;
}

/** A verified refresh token: its node, the epoch it was issued at, and the groups its enrolment token was limited to. */
export interface RefreshClaims {
  readonly nodeId: NodeId;
  readonly epoch: number;
  readonly groups: readonly string[];
}

/** A new pair of credentials. */
export interface IssuedCredentials {
  readonly accessToken: string;
  readonly accessExpiresMs: number;
  readonly refreshToken: string;
}

type Verified =
  | { readonly at: "valid"; readonly claims: unknown }
  | { readonly at: "expired" | "invalid" };

const registeredClaimsSchema = z.object({ iss: z.literal(ISSUER), exp: z.int() });
const accessClaimsSchema = z.object({
  sub: nodeIdSchema,
  iid: instanceIdSchema,
  epoch: z.int().min(1),
  exp: z.int(),
  use: z.literal("access"),
});
const refreshClaimsSchema = z.object({
  sub: nodeIdSchema,
  use: z.literal("refresh"),
  epoch: z.int().min(1),
  groups: z.array(z.string()).default([]),
});

/** Issues and verifies credentials. Caches VERIFIED_MAX verified access tokens. */
export class Credentials {
  readonly #clock: Clock;
  readonly #dataDir: string;
  #keys: JwtKeys;
  /** Oldest first. An agent presents the same token at each check-in for an hour. */
  readonly #verified = new Map<string, AccessClaims>();

  /** Reads the signing keys from `dataDir`. Throws KeyFileError. */
  constructor(clock: Clock, dataDir: string) {
    this.#clock = clock;
    this.#dataDir = dataDir;
    this.#keys = loadJwtKeys(dataDir);
  }

  /** Signs with a new key from now on. Credentials signed with the last key stay valid; older ones end. */
  rotateKey(): void {
    this.#keys = rotateJwtKeys(this.#dataDir, this.#keys);
    this.#verified.clear();
  }

  /** Issues credentials to one instance of a node: access for 1 h, refresh for 7 d. Empty `groups` allow any group. */
  async issue(claims: AgentClaims, groups: readonly string[] = []): Promise<IssuedCredentials> {
    const nowMs = this.#clock.nowMs();
    // A JWT's expiry is in whole seconds.
    const accessExpiresMs = Math.floor((nowMs + ACCESS_MS) / 1000) * 1000;
    const { nodeId, instanceId, epoch } = claims;
    const limits = groups.length === 0 ? {} : { groups };
    const access = { iid: instanceId, epoch, use: "access" };
    const refresh = { use: "refresh", epoch, ...limits };
    return {
      accessToken: this.#sign(access, nodeId, nowMs, accessExpiresMs),
      accessExpiresMs,
      refreshToken: this.#sign(refresh, nodeId, nowMs, nowMs + REFRESH_MS),
    };
  }

  /** Verifies an access token; undefined if it isn't one of ours or has expired. The registry decides whether its epoch is current. */
  async verifyAccess(token: string): Promise<AccessClaims | undefined> {
    const known = this.#verified.get(token);
    if (known !== undefined && this.#clock.nowMs() < known.expiresMs) return known;
    this.#verified.delete(token);
    const claims = accessClaimsSchema.safeParse(this.#claimsOf(token)).data;
    if (claims === undefined) return undefined;
    const { sub: nodeId, iid: instanceId, epoch, exp } = claims;
    const verified = { nodeId, instanceId, epoch, expiresMs: exp * 1000 };
    this.#remember(token, verified);
    return verified;
  }

  /** Verifies a refresh token; undefined if it isn't one of ours or has expired. The registry decides whether it was revoked. */
  async verifyRefresh(token: string): Promise<RefreshClaims | undefined> {
    const claims = refreshClaimsSchema.safeParse(this.#claimsOf(token)).data;
    if (claims === undefined) return undefined;
    const { sub: nodeId, epoch, groups } = claims;
    return { nodeId, epoch, groups };
  }

  /** Whether we signed `token`, even if it has expired: its bearer is late or in the wrong place, but isn't guessing. */
  isIssuedHere(token: string): boolean {
    return this.#verify(token).at !== "invalid";
  }

  #remember(token: string, claims: AccessClaims): void {
    this.#verified.set(token, claims);
    if (this.#verified.size <= VERIFIED_MAX) return;
    const [oldest] = this.#verified.keys();
    this.#verified.delete(oldest!);
  }

  #claimsOf(token: string): unknown {
    const verified = this.#verify(token);
    return verified.at === "valid" ? verified.claims : undefined;
  }

  #sign(
    payload: Record<string, unknown>,
    nodeId: NodeId,
    issuedMs: number,
    expiresMs: number,
  ): string {
    const [iat, exp] = [Math.floor(issuedMs / 1000), Math.floor(expiresMs / 1000)];
    return signJwt({ ...payload, iss: ISSUER, sub: nodeId, iat, exp }, this.#keys.current);
  }

  #verify(token: string): Verified {
    const { current, previous } = this.#keys;
    const claims =
      verifyJwt(token, current) ??
      (previous === undefined ? undefined : verifyJwt(token, previous));
    const registered = registeredClaimsSchema.safeParse(claims).data;
    if (registered === undefined) return { at: "invalid" };
    const isExpired = this.#clock.nowMs() >= registered.exp * 1000;
    return isExpired ? { at: "expired" } : { at: "valid", claims };
  }
}
