/**
 * The shared tokens: configured ones, and created ones, which have a name, may expire or be limited to nodes and groups, and
 * can be revoked at once. Stores only their hashes. The only writer of the `tokens` table. (H5)
 */
import { createHmac, randomBytes } from "node:crypto";
import { type Clock, every, Hook, type Log, type Timer } from "@fleet/daemon";
import type { NewToken, SharedTokenKind, TokenView } from "@fleet/protocol";
import { eq, sql } from "drizzle-orm";
import type { Committer, Table } from "../db/commit.ts";
import type { Db } from "../db/open.ts";
import { tokens } from "../db/schema.ts";
import { hashToken, makeToken, makeTokenId } from "./secret-text.ts";
import {
  type ConfiguredToken,
  configuredToken,
  decideCreate,
  decideRevoke,
  isValidAt,
  type StoredToken,
  type Token,
  type TokenKeys,
} from "./token.ts";

const MINUTE_MS = 60_000;
/** How soon an expired token's open connections are closed. */
const SWEEP_MS = 1000;

/** The result of creating a token. `too_many`: TOKENS_MAX tokens are valid. */
export type CreateOutcome =
  | { readonly at: "created"; readonly view: TokenView; readonly secret: string }
  | { readonly at: "name_taken" | "too_many" };

/** The result of a revocation. `configured`: the token comes from the configuration and can't be revoked. */
export type RevokeOutcome = "revoked" | "unknown" | "configured";

interface Entry {
  readonly token: Token;
  readonly hash: string;
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

/** The tokens that environment and files configure. */
export interface TokenSettings {
  readonly configured: readonly ConfiguredToken[];
  /** While no valid token of a kind exists, accept any or none. For trials on one machine. */
  readonly insecureDev: boolean;
}

/** What the tokens are built from. */
export interface TokensOptions extends TokenSettings {
  readonly db: Db;
  readonly commits: Committer;
  readonly clock: Clock;
  readonly log: Log;
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
  /** Called with each token that is revoked or expires. */
  readonly ended = new Hook<[Token]>();
  readonly #commits: Committer;
  readonly #keys: TokenKeys = { stored: { table: this.#table(), id: "" } };
  readonly #timers: Timer[] = [];

  constructor({ db, commits, clock, log, configured, insecureDev }: TokensOptions) {
    this.#db = db;
    this.#commits = commits;
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

  /** Whether there is a token of `kind`, valid or not. */
  has(kind: SharedTokenKind): boolean {
    return [...this.#byIndex.values()].some(({ token }) => token.kind === kind);
  }

  /** All tokens, configured ones first, then the oldest first. */
  list(): readonly TokenView[] {
    return [...this.#byIndex.values()].map((entry) => this.#view(entry));
  }

  /** Creates a token, replacing an ended one at TOKENS_MAX. On disk before it resolves. Rejects with the database's error. */
  async create(request: NewToken, createdBy: string): Promise<CreateOutcome> {
    // An expired token must be reported before it is replaced.
    this.#sweep();
    const { name, kind, role = null, nodes, groups, expires_in_ms: expiresInMs } = request;
    const secret = makeToken(kind);
    const nowMs = this.#clock.nowMs();
    const expiresAt = expiresInMs === undefined ? null : nowMs + expiresInMs;
    const about = { id: makeTokenId(), name, kind, role, nodes, groups };
    const token: Token = { ...about, createdAt: nowMs, createdBy, expiresAt };
    const created = { token, hash: hashToken(secret), revokedAt: null };
    const at = await this.#commits.commit(this.#keys, ({ stored = [] }) =>
      decideCreate(stored, created, nowMs),
    );
    if (at !== "created") return { at };
    return { at, view: this.#view(this.#byToken.get(token)!), secret };
  }

  /** Ends a token at once and permanently; revoking it again changes nothing. Rejects with the database's error. */
  async revoke(id: string): Promise<RevokeOutcome> {
    const isConfigured = (entry: Entry): boolean => entry.isConfigured && entry.token.id === id;
    if ([...this.#byIndex.values()].some(isConfigured)) return "configured";
    const revokedAt = this.#clock.nowMs();
    const outcome = await this.#commits.commit(this.#keys, ({ stored = [] }) =>
      decideRevoke(stored, id, revokedAt),
    );
    this.#sweep();
    return outcome;
  }

  #table(): Table<readonly StoredToken[]> {
    return {
      get: () => [...this.#byIndex.values()].filter((entry) => !entry.isConfigured).map(toStored),
      write: (_, next = [], previous = []) => {
        const before = new Map(previous.map((stored) => [stored.token.id, stored]));
        for (const stored of next) {
          const old = before.get(stored.token.id);
          if (old === undefined) this.#insert(stored);
          else if (old.revokedAt !== stored.revokedAt) this.#update(stored);
          before.delete(stored.token.id);
        }
        for (const id of before.keys()) this.#db.delete(tokens).where(eq(tokens.id, id)).run();
      },
      apply: (_, next = []) => {
        const kept = new Set(next.map(({ token }) => token.id));
        for (const { isConfigured, index, token } of this.#byIndex.values())
          if (!isConfigured && !kept.has(token.id)) this.#byIndex.delete(index);
        for (const { hash, token, revokedAt } of next) this.#add(hash, token).revokedAt = revokedAt;
      },
    };
  }

  #insert({ token: { nodes, groups, createdAt, createdBy, ...token }, hash }: StoredToken): void {
    const lists = { nodes: [...nodes], groups: [...groups] };
    const created = { createdAt: createdAt!, createdBy: createdBy! };
    this.#db
      .insert(tokens)
      .values({ ...token, ...lists, ...created, hash })
      .run();
  }

  #update({ token: { id }, revokedAt }: StoredToken): void {
    this.#db.update(tokens).set({ revokedAt }).where(eq(tokens.id, id)).run();
  }

  #add(hash: string, token: Token): Entry {
    const index = this.#indexOf(hash);
    const known = this.#byIndex.get(index);
    if (known !== undefined) return known;
    const entry: Entry = {
      token,
      hash,
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

  #isValid(entry: Entry): boolean {
    return isValidAt(entry, this.#clock.nowMs());
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
      this.ended.call(entry.token);
    }
  }

  /** Writes when tokens were last used. After a failure, tries again a minute later. */
  #flush(): void {
    const dirty = [...this.#byIndex.values()].filter((entry) => entry.isDirty);
    if (dirty.length === 0) return;
    const update = this.#db
      .update(tokens)
      .set({ lastUsedAt: sql.placeholder("lastUsedAt") as never })
      .where(eq(tokens.id, sql.placeholder("id")))
      .prepare();
    this.#commits.batch(
      () => {
        for (const { token, lastUsedAt } of dirty) update.run({ id: token.id, lastUsedAt });
      },
      [],
      () => {
        for (const entry of dirty) entry.isDirty = false;
      },
    );
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

function toStored({ token, hash, revokedAt }: Entry): StoredToken {
  return { token, hash, revokedAt };
}

/** Stand for any secret or none with `insecureDev`. */
const INSECURE: Readonly<Record<SharedTokenKind, Token>> = {
  enroll: configuredToken("enroll", "insecure-dev"),
  push: configuredToken("push", "insecure-dev"),
  operator: configuredToken("operator", "insecure-dev"),
};
