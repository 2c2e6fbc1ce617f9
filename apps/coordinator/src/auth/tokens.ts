/**
 * The shared tokens: those of the configuration, and those made here, which are named, expire, can be limited to nodes and
 * groups, and can be revoked at once. Only their hashes are kept. The only writer of `tokens`. (H5)
 */
import { createHmac, randomBytes } from "node:crypto";
import { type Clock, every, type Log, type Timer } from "@fleet/daemon";
import type { NewToken, Role, SharedTokenKind, TokenView } from "@fleet/protocol";
import { eq, sql } from "drizzle-orm";
import type { Db } from "../db/open.ts";
import { tokens } from "../db/schema.ts";
import { matchesGlob } from "./glob.ts";
import { hashToken, makeToken, makeTokenId } from "./secret-text.ts";

/** Tokens that are kept, ended ones included. */
export const TOKENS_MAX = 1000;
const MINUTE_MS = 60_000;
/** How soon those who hold a connection open learn that their token has expired. */
const SWEEP_MS = 1000;

/** A token from a variable or a file. `name` is a colon more than those made here can have. */
export interface GivenToken {
  readonly kind: SharedTokenKind;
  readonly name: string;
  readonly secret: string;
}

/** A token, without what is secret. Times are Unix ms. */
export interface Token {
  readonly id: string;
  readonly name: string;
  readonly kind: SharedTokenKind;
  /** Of operator tokens. */
  readonly role: Role | null;
  /** Patterns; none: any node. */
  readonly nodes: readonly string[];
  /** None: any group, or no group. */
  readonly groups: readonly string[];
  readonly createdAt: number | null;
  readonly createdBy: string | null;
  readonly expiresAt: number | null;
}

/** What became of an order for a token. The last two: there is one of that name; there are TOKENS_MAX that are valid. */
export type CreateOutcome =
  | { readonly at: "created"; readonly view: TokenView; readonly secret: string }
  | { readonly at: "name_taken" | "too_many" };

/** What became of a revocation. */
export type RevokeOutcome = "revoked" | "unknown" | "configured";

interface Entry {
  readonly token: Token;
  readonly index: string;
  /** From the configuration: it has no row. */
  readonly given: boolean;
  revokedAt: number | null;
  lastUsedAt: number | null;
  dirty: boolean;
  /** When it was last looked at. */
  wasValid: boolean;
}

/** Finds tokens by what was shown, makes and ends them. */
export class Tokens {
  readonly #db: Db;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #insecureDev: boolean;
  /** Of this process: nobody outside knows where in the index a guess would lie, so lookup times tell nothing. */
  readonly #indexKey = randomBytes(32);
  readonly #byIndex = new Map<string, Entry>();
  readonly #endListeners = new Set<(token: Token) => void>();
  readonly #timers: Timer[] = [];

  /** `insecureDev`: while there is no valid token of a kind, everybody has one. For trials on one machine. */
  constructor(db: Db, clock: Clock, log: Log, given: readonly GivenToken[], insecureDev: boolean) {
    this.#db = db;
    this.#clock = clock;
    this.#log = log;
    this.#insecureDev = insecureDev;
    for (const { kind, name, secret } of given)
      this.#add(hashToken(secret), givenToken(kind, name));
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

  /** The valid token of that kind that was shown. It counts as used. */
  find(kind: SharedTokenKind, secret: string | undefined): Token | undefined {
    const entry = secret === undefined ? undefined : this.#entryOf(secret);
    if (entry?.token.kind === kind) return entry.token;
    return this.#isOpen(kind) ? OPEN[kind] : undefined;
  }

  /** The valid token that was shown, of whatever kind. Where no token is needed to enrol, any and none enrols. */
  identify(secret: string | undefined): Token | undefined {
    const entry = secret === undefined ? undefined : this.#entryOf(secret);
    return entry?.token ?? (this.#isOpen("enroll") ? OPEN.enroll : undefined);
  }

  /** Calls `listener` with each token that ends, by being revoked or by its time. Returns the function that ends this. */
  onEnd(listener: (token: Token) => void): () => void {
    this.#endListeners.add(listener);
    return () => void this.#endListeners.delete(listener);
  }

  /** Whether there is a token of that kind, valid or not. */
  has(kind: SharedTokenKind): boolean {
    return [...this.#byIndex.values()].some(({ token }) => token.kind === kind);
  }

  /** All of them, those of the configuration first, then by age. */
  list(): readonly TokenView[] {
    return [...this.#byIndex.values()].map((entry) => this.#view(entry));
  }

  /** On disk when this returns. Throws what the database throws. */
  create(order: NewToken, createdBy: string): CreateOutcome {
    // One that is to give its place must have been told as ended.
    this.#sweep();
    const made = [...this.#byIndex.values()].filter((entry) => !entry.given);
    if (made.some(({ token }) => token.name === order.name)) return { at: "name_taken" };
    const spent = made.find((entry) => !this.#isValid(entry));
    if (made.length >= TOKENS_MAX && spent === undefined) return { at: "too_many" };
    const nowMs = this.#clock.nowMs();
    const secret = makeToken(order.kind);
    const hash = hashToken(secret);
    const token: Token = {
      id: makeTokenId(),
      name: order.name,
      kind: order.kind,
      role: order.role ?? null,
      nodes: order.nodes,
      groups: order.groups,
      createdAt: nowMs,
      createdBy,
      expiresAt: order.expires_in_ms === undefined ? null : nowMs + order.expires_in_ms,
    };
    this.#db.transaction((tx) => {
      if (made.length >= TOKENS_MAX && spent !== undefined)
        tx.delete(tokens).where(eq(tokens.id, spent.token.id)).run();
      tx.insert(tokens)
        .values({
          ...token,
          nodes: order.nodes,
          groups: order.groups,
          createdAt: nowMs,
          createdBy,
          hash,
        })
        .run();
    });
    if (made.length >= TOKENS_MAX && spent !== undefined) this.#byIndex.delete(spent.index);
    const entry = this.#add(hash, token);
    return { at: "created", view: this.#view(entry), secret };
  }

  /** Ends a token for good, at once; ending it again changes nothing. Throws what the database throws. */
  revoke(id: string): RevokeOutcome {
    const entry = [...this.#byIndex.values()].find(({ token }) => token.id === id);
    if (entry === undefined) return "unknown";
    if (entry.given) return "configured";
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
    const given = token.createdAt === null;
    const entry: Entry = {
      token,
      index,
      given,
      revokedAt: null,
      lastUsedAt: null,
      dirty: false,
      wasValid: true,
    };
    this.#byIndex.set(index, entry);
    return entry;
  }

  #entryOf(secret: string): Entry | undefined {
    const entry = this.#byIndex.get(this.#indexOf(hashToken(secret)));
    if (entry === undefined || !this.#isValid(entry)) return undefined;
    const nowMs = this.#clock.nowMs();
    const minute = nowMs - (nowMs % MINUTE_MS);
    if (entry.lastUsedAt !== minute) {
      entry.lastUsedAt = minute;
      entry.dirty = !entry.given;
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

  #isOpen(kind: SharedTokenKind): boolean {
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

  /** A disk that refuses is asked again a minute later. */
  #flush(): void {
    const dirty = [...this.#byIndex.values()].filter((entry) => entry.dirty);
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
      this.#log.warn({ err }, "when tokens were used is not written");
      return;
    }
    for (const entry of dirty) entry.dirty = false;
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

/** Whether a token may bring in or speak for this node. */
export function isTokenFor(token: Token, nodeId: string, group: string | null): boolean {
  const isNode = token.nodes.length === 0 || token.nodes.some((p) => matchesGlob(p, nodeId));
  const isGroup = token.groups.length === 0 || (group !== null && token.groups.includes(group));
  return isNode && isGroup;
}

function givenToken(kind: SharedTokenKind, name: string): Token {
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

const OPEN: Readonly<Record<SharedTokenKind, Token>> = {
  enroll: givenToken("enroll", "insecure-dev"),
  push: givenToken("push", "insecure-dev"),
  operator: givenToken("operator", "insecure-dev"),
};
