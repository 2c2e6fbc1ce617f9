/**
 * Where tokens are given out: a running coordinator, through its API, or a data directory that no coordinator has open.
 * Called by `fleet-coordinator token`. (H5)
 */
import { readFileSync } from "node:fs";
import { silentLog, systemClock } from "@fleet/daemon";
import {
  type CreatedToken,
  createdTokenSchema,
  type CreateTokenRequest,
  createTokenRequestSchema,
  errorBodySchema,
  tokenListSchema,
  type TokenView,
} from "@fleet/protocol";
import { Audit } from "../auth/audit.ts";
import { loadJwtKeys, rotateJwtKeys } from "../auth/jwt-keys.ts";
import { Tokens } from "../auth/tokens.ts";
import { Bus } from "../bus.ts";
import { Committer } from "../db/commit.ts";
import { openDb } from "../db/open.ts";

const REQUEST_MS_MAX = 10_000;
/** Who the audit log says it was. */
const ACTOR = "command-line";

/** Makes, lists and ends tokens. All throw TokenAdminError, or what has a `code` and a message for people. */
export interface TokenAdmin {
  create(order: CreateTokenRequest): Promise<CreatedToken>;
  list(): Promise<readonly TokenView[]>;
  revoke(id: string): Promise<void>;
  rotateKey(): Promise<void>;
}

/** It could not be done; the message says why and holds no secret. */
export class TokenAdminError extends Error {
  readonly code = "token_desk";
}

/** How to reach a coordinator; `caFile` holds the certificates its own is signed with, where it is not a public one. */
export interface RemoteDeskOptions {
  readonly url: string;
  readonly token: string;
  readonly caFile: string | undefined;
}

/** Asks a running coordinator, as an admin. */
export class ApiTokenAdmin implements TokenAdmin {
  readonly #options: RemoteDeskOptions;

  constructor(options: RemoteDeskOptions) {
    this.#options = options;
  }

  async create(order: CreateTokenRequest): Promise<CreatedToken> {
    return createdTokenSchema.parse(await this.#ask("POST", "tokens", order));
  }

  async list(): Promise<readonly TokenView[]> {
    return tokenListSchema.parse(await this.#ask("GET", "tokens")).tokens;
  }

  async revoke(id: string): Promise<void> {
    await this.#ask("DELETE", `tokens/${encodeURIComponent(id)}`);
  }

  async rotateKey(): Promise<void> {
    await this.#ask("POST", "auth/rotate-key");
  }

  async #ask(method: string, path: string, body?: unknown): Promise<unknown> {
    const { url, token, caFile } = this.#options;
    let response: Response;
    let text: string;
    try {
      response = await fetch(`${url.replace(/\/+$/, "")}/api/v1/${path}`, {
        method,
        redirect: "manual",
        signal: AbortSignal.timeout(REQUEST_MS_MAX),
        headers: { Authorization: `Bearer ${token}` },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        ...(caFile === undefined ? {} : { tls: { ca: readFileSync(caFile, "utf8") } }),
      });
      text = await response.text();
    } catch (error) {
      throw new TokenAdminError(`${url} can't be asked: ${(error as Error).message}`);
    }
    if (!response.ok) throw new TokenAdminError(`${url} answers ${response.status}${saidIn(text)}`);
    return text === "" ? undefined : JSON.parse(text);
  }
}

function saidIn(text: string): string {
  try {
    const { error } = errorBodySchema.parse(JSON.parse(text));
    return ` ${error.code}: ${error.message}`;
  } catch {
    return "";
  }
}

/** Opens a data directory for each act; refused while a coordinator has it. */
export class DatabaseTokenAdmin implements TokenAdmin {
  readonly #dataDir: string;

  constructor(dataDir: string) {
    this.#dataDir = dataDir;
  }

  async create(order: CreateTokenRequest): Promise<CreatedToken> {
    const checked = createTokenRequestSchema.safeParse(order);
    if (!checked.success)
      throw new TokenAdminError(
        checked.error.issues.map((i) => `${i.path.join(".")}: ${i.message}`).join("; "),
      );
    return this.#act("POST /api/v1/tokens", order.name, async (tokens) => {
      const outcome = await tokens.create(checked.data, ACTOR);
      if (outcome.at === "created") return { token: outcome.view, secret: outcome.secret };
      const why = outcome.at === "name_taken" ? "there is a token of that name" : "too many tokens";
      throw new TokenAdminError(why);
    });
  }

  async list(): Promise<readonly TokenView[]> {
    return this.#open((tokens) => tokens.list());
  }

  async revoke(id: string): Promise<void> {
    await this.#act("DELETE /api/v1/tokens/:id", id, (tokens) => tokens.revoke(id));
  }

  async rotateKey(): Promise<void> {
    await this.#act("POST /api/v1/auth/rotate-key", null, () => {
      rotateJwtKeys(this.#dataDir, loadJwtKeys(this.#dataDir));
    });
  }

  #act<T>(
    action: string,
    subject: string | null,
    act: (tokens: Tokens) => T | Promise<T>,
  ): Promise<T> {
    return this.#open(async (tokens, audit) => {
      const result = await act(tokens);
      audit.record({ actor: ACTOR, address: null, action, subject, outcome: "ok" });
      return result;
    });
  }

  async #open<T>(act: (tokens: Tokens, audit: Audit) => T | Promise<T>): Promise<T> {
    const opened = openDb(this.#dataDir);
    const { db } = opened;
    try {
      const commits = new Committer(db, silentLog, new Bus());
      const tokens = new Tokens(db, commits, systemClock, silentLog, [], false);
      return await act(tokens, new Audit(db, systemClock, silentLog));
    } finally {
      opened.close();
    }
  }
}
