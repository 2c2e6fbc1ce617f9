/**
 * The shared tokens: configured ones, and created ones, which have a name, may expire or be limited to nodes and groups, and
 * can be revoked at once. Stores only their hashes. The only writer of the `tokens` table. (H5)
 */
import { createHmac, randomBytes } from "node:crypto";
import { type Clock, every, type Log, type Timer } from "@fleet/daemon";
import type { NewToken, Role, SharedTokenKind, TokenView } from "@fleet/protocol";
import { eq, sql } from "drizzle-orm";
import type { Db } from "../db/open.ts";
import { tokens } from "../db/schema.ts";
import { matchesGlob } from "./glob.ts";
import { hashToken, makeToken, makeTokenId } from "./secret-text.ts";

/** Created tokens stored, including expired and revoked ones. */
export const TOKENS_MAX = 1000;
const MINUTE_MS = 60_000;
/** How soon an expired token's open connections are closed. */
const SWEEP_MS = 1000;

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

/** The result of creating a token. `too_many`: TOKENS_MAX tokens are valid. */
export type CreateOutcome =
  | { readonly at: "created"; readonly view: TokenView; readonly secret: string }
  | { readonly at: "name_taken" | "too_many" };

/** The result of a revocation. `configured`: the token comes from the configuration and can't be revoked. */
export type RevokeOutcome = "revoked" | "unknown" | "configured";

interface Entry {
  readonly token: Token;
  readonly index: string;
  /** Configured tokens have no row. */
  readonly isConfigured: boolean;
  revokedAt: number | null;
  /** Unix ms, rounded down to the minute. */
  lastUsedAt: number | null;
  /** Whether `lastUsedAt` is not on disk yet. */
  isDirty: boolean;
  /** At the last sweep. */
  wasValid: boolean;
}

/** Looks tokens up by their secret, creates and revokes them, and reports those that end. */
export class Tokens {
  readonly #db: Db;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #insecureDev: boolean;
  /** Random per process, so that nobody can predict the index of a guess and lookup times reveal nothing. */
  readonly #indexKey = randomBytes(32);
  readonly #byIndex = new Map<string, Entry>();
  readonly #byToken = new WeakMap<Token, Entry>();
  readonly #endListeners = new Set<(token: Token) => void>();
  readonly #timers: Timer[] = [];

  /** `insecureDev`: while no valid token of a kind exists, accept any or none. For trials on one machine. */
  constructor(
    db: Db,
    clock: Clock,
    log: Log,
    configured: readonly ConfiguredToken[],
    insecureDev: boolean,
  ) {
    this.#db = db;
    this.#clock = clock;
    this.#log = log;
    this.#insecureDev = insecureDev;
    for (const { kind, name, secret } of configured)
      this.#add(hashToken(secret), configuredToken(kind, name));
    for (const row of db.select().from(tokens).all()) {
      const { hash, revokedAt, lastUsedAt, ...token } = row;
      const entry = this.#add(hash, token);
      entry.revokedAt = revokedAt;
      entry.lastUsedAt = lastUsedAt;
      entry.wasValid = this.#isValid(entry);
    }
  }

  start(): void {
    this.#timers.push(every(this.#clock, SWEEP_MS, () => this.#sweep()));
    this.#timers.push(every(this.#clock, MINUTE_MS, () => this.#flush()));
  }

  async stop(): Promise<void> {
    for (const timer of this.#timers) timer.cancel();
    this.#flush();
  }

  /** The valid token of `kind` with this secret. Counts as a use of it. */
  find(kind: SharedTokenKind, secret: string | undefined): Token | undefined {
    const entry = secret === undefined ? undefined : this.#entryOf(secret);
    if (entry?.token.kind === kind) return entry.token;
    return this.#acceptsAny(kind) ? INSECURE[kind] : undefined;
  }

  /** The valid token of any kind with this secret. Counts as a use of it. With `insecureDev` and no valid enrolment token, any other secret or none enrols. */
  identify(secret: string | undefined): Token | undefined {
    const entry = secret === undefined ? undefined : this.#entryOf(secret);
    return entry?.token ?? (this.#acceptsAny("enroll") ? INSECURE.enroll : undefined);
  }

  /** Whether a token that was found earlier is still valid. */
  isValid(token: Token | undefined): token is Token {
    if (token === undefined) return false;
    const entry = this.#byToken.get(token);
    return entry === undefined ? this.#acceptsAny(token.kind) : this.#isValid(entry);
  }

  /** Calls `listener` with each token that is revoked or expires. Returns the function that removes the listener. */
  onEnd(listener: (token: Token) => void): () => void {
    this.#endListeners.add(listener);
    return () => void this.#endListeners.delete(listener);
  }

  /** Whether there is a token of `kind`, valid or not. */
  has(kind: SharedTokenKind): boolean {
    return [...this.#byIndex.values()].some(({ token }) => token.kind === kind);
  }

  /** All tokens, configured ones first, then the oldest first. */
  list(): readonly TokenView[] {
    return [...this.#byIndex.values()].map((entry) => this.#view(entry));
  }

  /** Creates a token, replacing an ended one at TOKENS_MAX. It is on disk when this returns. Throws database errors. */
  create(request: NewToken, createdBy: string): CreateOutcome {
    // An expired token must be reported before it is replaced.
    this.#sweep();
    const { name, kind, role = null, nodes, groups, expires_in_ms: expiresInMs } = request;
    const created = [...this.#byIndex.values()].filter((entry) => !entry.isConfigured);
    if (created.some(({ token }) => token.name === name)) return { at: "name_taken" };
    const isFull = created.length >= TOKENS_MAX;
    const replaced = isFull ? created.find((entry) => !this.#isValid(entry)) : undefined;
    if (isFull && replaced === undefined) return { at: "too_many" };
    const secret = makeToken(kind);
    const hash = hashToken(secret);
    const createdAt = this.#clock.nowMs();
    const expiresAt = expiresInMs === undefined ? null : createdAt + expiresInMs;
    const token = { id: makeTokenId(), name, kind, role, nodes, groups, createdAt, createdBy };
    this.#db.transaction((tx) => {
      if (replaced !== undefined) tx.delete(tokens).where(eq(tokens.id, replaced.token.id)).run();
      tx.insert(tokens)
        .values({ ...token, expiresAt, hash })
        .run();
    });
    if (replaced !== undefined) this.#byIndex.delete(replaced.index);
    const entry = this.#add(hash, { ...token, expiresAt });
    return { at: "created", view: this.#view(entry), secret };
  }

  /** Ends a token at once and permanently; revoking it again changes nothing. Throws database errors. */
  revoke(id: string): RevokeOutcome {
    const entry = [...this.#byIndex.values()].find(({ token }) => token.id === id);
    if (entry === undefined) return "unknown";
    if (entry.isConfigured) return "configured";
    if (entry.revokedAt !== null) return "revoked";
    const revokedAt = this.#clock.nowMs();
    this.#db.update(tokens).set({ revokedAt }).where(eq(tokens.id, id)).run();
    entry.revokedAt = revokedAt;
    this.#sweep();
    return "revoked";
  }

  #add(hash: string, token: Token): Entry {
    const index = this.#indexOf(hash);
    const known = this.#byIndex.get(index);
    if (known !== undefined) return known;
    const entry: Entry = {
      token,
      index,
      isConfigured: token.createdAt === null,
      revokedAt: null,
      lastUsedAt: null,
      isDirty: false,
      wasValid: true,
    };
    this.#byIndex.set(index, entry);
    this.#byToken.set(token, entry);
    return entry;
  }

  #entryOf(secret: string): Entry | undefined {
    const entry = this.#byIndex.get(this.#indexOf(hashToken(secret)));
    if (entry === undefined || !this.#isValid(entry)) return undefined;
    const nowMs = this.#clock.nowMs();
    const minute = nowMs - (nowMs % MINUTE_MS);
    if (entry.lastUsedAt !== minute) {
      entry.lastUsedAt = minute;
      entry.isDirty = !entry.isConfigured;
    }
    return entry;
  }

  #indexOf(hash: string): string {
    return createHmac("sha256", this.#indexKey).update(hash).digest("base64");
  }

  #isValid({ token, revokedAt }: Entry): boolean {
    return (
      revokedAt === null && (token.expiresAt === null || this.#clock.nowMs() < token.expiresAt)
    );
  }

  #acceptsAny(kind: SharedTokenKind): boolean {
    if (!this.#insecureDev) return false;
    return ![...this.#byIndex.values()].some((e) => e.token.kind === kind && this.#isValid(e));
  }

  #sweep(): void {
    for (const entry of this.#byIndex.values()) {
      const isValid = this.#isValid(entry);
      const ended = entry.wasValid && !isValid;
      entry.wasValid = isValid;
      if (!ended) continue;
      const { id, name, kind } = entry.token;
      this.#log.info({ token_id: id, token_name: name, kind }, "token ended");
      for (const listener of this.#endListeners) listener(entry.token);
    }
  }

  /** Writes when tokens were last used. After a failure, tries again a minute later. */
  #flush(): void {
    const dirty = [...this.#byIndex.values()].filter((entry) => entry.isDirty);
    if (dirty.length === 0) return;
    try {
      const update = this.#db
        .update(tokens)
        .set({ lastUsedAt: sql.placeholder("lastUsedAt") as never })
        .where(eq(tokens.id, sql.placeholder("id")))
        .prepare();
      this.#db.transaction(() => {
        for (const { token, lastUsedAt } of dirty) update.run({ id: token.id, lastUsedAt });
      });
    } catch (err) {
      this.#log.warn({ err }, "can't write when tokens were last used");
      return;
    }
    for (const entry of dirty) entry.isDirty = false;
  }

  #view(entry: Entry): TokenView {
    const { token, revokedAt, lastUsedAt } = entry;
    const ended = revokedAt === null ? "EXPIRED" : "REVOKED";
    return {
      id: token.id,
      name: token.name,
      kind: token.kind,
      state: this.#isValid(entry) ? "VALID" : ended,
      role: token.role,
      nodes: [...token.nodes],
      groups: [...token.groups],
      created_at: token.createdAt,
      created_by: token.createdBy,
      expires_at: token.expiresAt,
      revoked_at: revokedAt,
      last_used_at: lastUsedAt,
    };
  }
}

/** Whether a token's limits allow it to enrol or speak for this node. */
export function isTokenFor(token: Token, nodeId: string, group: string | null): boolean {
  const isNode = token.nodes.length === 0 || token.nodes.some((p) => matchesGlob(p, nodeId));
  const isGroup = token.groups.length === 0 || (group !== null && token.groups.includes(group));
  return isNode && isGroup;
}

function configuredToken(kind: SharedTokenKind, name: string): Token {
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

/** Stand for any secret or none with `insecureDev`. */
const INSECURE: Readonly<Record<SharedTokenKind, Token>> = {
  enroll: configuredToken("enroll", "insecure-dev"),
  push: configuredToken("push", "insecure-dev"),
  operator: configuredToken("operator", "insecure-dev"),
};
