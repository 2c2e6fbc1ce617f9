/**
 * What an agent gets for its enrolment token: credentials of its own, good for one node, signed with a key kept beside the
 * database. A restart invalidates none, and a rotated enrolment token strands nobody. (H5, R9)
 */
import type { Clock } from "@fleet/daemon";
import { type InstanceId, instanceIdSchema, type NodeId, nodeIdSchema } from "@fleet/protocol";
import { errors, jwtVerify, SignJWT } from "jose";
import { z } from "zod";
import { type JwtKeys, loadJwtKeys, rotateJwtKeys } from "./jwt-keys.ts";

const ACCESS_MS = 3_600_000;
const REFRESH_MS = 7 * 86_400_000;
const ISSUER = "fleet-coordinator";
/** Access tokens that are remembered as verified: those of as many agents, about 0.4 kB each. */
const VERIFIED_MAX = 20_000;

/** Whom an access token is for. */
export interface AgentClaims {
  readonly nodeId: NodeId;
  readonly instanceId: InstanceId;
  readonly epoch: number;
}

/** The bearer of an access token, and until when it is one, Unix ms. */
export interface AccessClaims extends AgentClaims {
  readonly expiresMs: number;
}

/** What a refresh token says: whose it is, the epoch it was issued at, and the groups its enrolment was limited to. */
export interface RefreshClaims {
  readonly nodeId: NodeId;
  readonly epoch: number;
  readonly groups: readonly string[];
}

/** A fresh pair of agent credentials. */
export interface IssuedCredentials {
  readonly accessToken: string;
  readonly accessExpiresMs: number;
  readonly refreshToken: string;
}

type Verified =
  | { readonly at: "good"; readonly claims: unknown }
  | { readonly at: "expired" | "bad" };

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

/** Issues and verifies credentials. */
export class Credentials {
  readonly #clock: Clock;
  readonly #dataDir: string;
  #keys: JwtKeys;
  /** An agent shows the same token for an hour; the crypto is most of what its check-in would cost. Oldest first. */
  readonly #verified = new Map<string, AccessClaims>();

  /** The keys are those of `dataDir`. Throws KeyFileError. */
  constructor(clock: Clock, dataDir: string) {
    this.#clock = clock;
    this.#dataDir = dataDir;
    this.#keys = loadJwtKeys(dataDir);
  }

  /** Signs with a new key from now on. Credentials of the current one stay good, those of the one before end. */
  rotateKey(): void {
    this.#keys = rotateJwtKeys(this.#dataDir, this.#keys);
    this.#verified.clear();
  }

  /** For one instance of a node: access for 1 h, refresh for 7 d. `groups`: those it may be in; none: any. */
  async issue(claims: AgentClaims, groups: readonly string[] = []): Promise<IssuedCredentials> {
    const nowMs = this.#clock.nowMs();
    // A token's own expiry is in whole seconds.
    const accessExpiresMs = Math.floor((nowMs + ACCESS_MS) / 1000) * 1000;
    const { nodeId, instanceId, epoch } = claims;
    const limits = groups.length === 0 ? {} : { groups };
    const [accessToken, refreshToken] = await Promise.all([
      this.#sign({ iid: instanceId, epoch, use: "access" }, nodeId, nowMs, accessExpiresMs),
      this.#sign({ use: "refresh", epoch, ...limits }, nodeId, nowMs, nowMs + REFRESH_MS),
    ]);
    return { accessToken, accessExpiresMs, refreshToken };
  }

  /** The bearer of an access token, or undefined when it isn't one of ours or has expired. */
  async verifyAccess(token: string): Promise<AccessClaims | undefined> {
    const known = this.#verified.get(token);
    if (known !== undefined && this.#clock.nowMs() < known.expiresMs) return known;
    this.#verified.delete(token);
    const keys = this.#keys;
    const claims = accessClaimsSchema.safeParse(await this.#claimsOf(token)).data;
    if (claims === undefined) return undefined;
    const { sub: nodeId, iid: instanceId, epoch, exp } = claims;
    const verified = { nodeId, instanceId, epoch, expiresMs: exp * 1000 };
    // The key may have been changed meanwhile.
    if (keys === this.#keys) this.#remember(token, verified);
    return verified;
  }

  /** The bearer of a refresh token, or undefined. Whether the node still honours it, the registry knows. */
  async verifyRefresh(token: string): Promise<RefreshClaims | undefined> {
    const claims = refreshClaimsSchema.safeParse(await this.#claimsOf(token)).data;
    if (claims === undefined) return undefined;
    const { sub: nodeId, epoch, groups } = claims;
    return { nodeId, epoch, groups };
  }

  /** Whether we signed this once: who shows it may come late or to the wrong door, but tries nothing out. */
  async wasOurs(token: string): Promise<boolean> {
    return (await this.#verify(token)).at !== "bad";
  }

  #remember(token: string, claims: AccessClaims): void {
    if (this.#verified.size >= VERIFIED_MAX) {
      for (const oldest of this.#verified.keys()) {
        this.#verified.delete(oldest);
        break;
      }
    }
    this.#verified.set(token, claims);
  }

  async #claimsOf(token: string): Promise<unknown> {
    const verified = await this.#verify(token);
    return verified.at === "good" ? verified.claims : undefined;
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
      .sign(this.#keys.current);
  }

  async #verify(token: string): Promise<Verified> {
    const { current, previous } = this.#keys;
    const verified = await this.#verifyWith(token, current);
    return verified.at === "bad" && previous !== undefined
      ? this.#verifyWith(token, previous)
      : verified;
  }

  async #verifyWith(token: string, key: Uint8Array): Promise<Verified> {
    try {
      const { payload } = await jwtVerify(token, key, {
        algorithms: ["HS256"],
        issuer: ISSUER,
        currentDate: new Date(this.#clock.nowMs()),
      });
      return { at: "good", claims: payload };
    } catch (error) {
      // The signature is checked before the time.
      return { at: error instanceof errors.JWTExpired ? "expired" : "bad" };
    }
  }
}
