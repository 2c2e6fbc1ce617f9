/**
 * A shared token, its limits, and the pure decisions that create and revoke one. Tokens commits them; routes and the frame
 * port check limits. (H5)
 */
import type { Role, SharedTokenKind } from "@fleet/protocol";
import type { Decision, Key } from "../db/commit.ts";
import { matchesGlob } from "./glob.ts";

/** Created tokens stored, including expired and revoked ones. */
export const TOKENS_MAX = 1000;

/** A token from a variable or a file. `name` contains a colon, which a created token's name can't. */
export interface ConfiguredToken {
  readonly kind: SharedTokenKind;
  readonly name: string;
  readonly secret: string;
}

/** A token without its secret. Times are Unix ms. */
export interface Token {
  readonly id: string;
  readonly name: string;
  readonly kind: SharedTokenKind;
  /** Null unless `kind` is `operator`. */
  readonly role: Role | null;
  /** Glob patterns of node ids; empty: any node. */
  readonly nodes: readonly string[];
  /** Empty: any group, or none. */
  readonly groups: readonly string[];
  readonly createdAt: number | null;
  readonly createdBy: string | null;
  readonly expiresAt: number | null;
}

/** A created token as it is committed. */
export interface StoredToken {
  readonly token: Token;
  readonly hash: string;
  readonly revokedAt: number | null;
}

/** All created tokens are one row of a commit: names are unique, and their number is limited. */
export type TokenKeys = { readonly stored: Key<readonly StoredToken[]> };

/** Whether a token's limits allow it to enrol or speak for this node. */
export function isTokenFor(token: Token, nodeId: string, group: string | null): boolean {
  const isNode = token.nodes.length === 0 || token.nodes.some((p) => matchesGlob(p, nodeId));
  const isGroup = token.groups.length === 0 || (group !== null && token.groups.includes(group));
  return isNode && isGroup;
}

/** Whether a token has neither been revoked nor expired. */
export function isValidAt(
  { token, revokedAt }: Pick<StoredToken, "token" | "revokedAt">,
  nowMs: number,
): boolean {
  return revokedAt === null && (token.expiresAt === null || nowMs < token.expiresAt);
}

/** Adds a token, in place of an ended one at TOKENS_MAX. `too_many`: TOKENS_MAX tokens are valid. */
export function decideCreate(
  stored: readonly StoredToken[],
  created: StoredToken,
  nowMs: number,
): Decision<TokenKeys, "created" | "name_taken" | "too_many"> {
  if (stored.some(({ token }) => token.name === created.token.name))
    return { outcome: "name_taken" };
  const isFull = stored.length >= TOKENS_MAX;
  const replaced = isFull ? stored.find((other) => !isValidAt(other, nowMs)) : undefined;
  if (isFull && replaced === undefined) return { outcome: "too_many" };
  const kept = stored.filter((other) => other !== replaced);
  return { outcome: "created", next: { stored: [...kept, created] } };
}

/** Revokes the token with this id; revoking it again changes nothing. */
export function decideRevoke(
  stored: readonly StoredToken[],
  id: string,
  revokedAt: number,
): Decision<TokenKeys, "revoked" | "unknown"> {
  const found = stored.find(({ token }) => token.id === id);
  if (found === undefined) return { outcome: "unknown" };
  if (found.revokedAt !== null) return { outcome: "revoked" };
  const next = stored.map((other) => (other === found ? { ...found, revokedAt } : other));
  return { outcome: "revoked", next: { stored: next } };
}

/** The token made from a variable or file of this name. */
export function configuredToken(kind: SharedTokenKind, name: string): Token {
  return {
    id: name,
    name,
    kind,
    role: kind === "operator" ? "admin" : null,
    nodes: [],
    groups: [],
    createdAt: null,
    createdBy: null,
    expiresAt: null,
  };
}
