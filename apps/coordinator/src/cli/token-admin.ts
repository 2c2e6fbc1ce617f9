/**
 * Manages tokens for `fleet-coordinator token`: through the API of a running coordinator, or in the data directory of a
 * stopped one. (H5)
 */
import { readFileSync } from "node:fs";
import { ApiClient, type ApiClientOptions } from "@fleet/api-client";
import { silentLog, systemClock } from "@fleet/daemon";
import {
  accessApi,
  type Contract,
  type CreatedToken,
  type CreateTokenRequest,
  createTokenRequestSchema,
  errorRow,
  routeOf,
  type TokenView,
} from "@fleet/protocol";
import { Audit } from "../auth/audit.ts";
import { loadJwtKeys, rotateJwtKeys } from "../auth/jwt-keys.ts";
import { Tokens } from "../auth/tokens.ts";
import { Bus } from "../bus.ts";
import { Committer } from "../db/commit.ts";
import { openDb } from "../db/open.ts";

/** The actor in the audit log. */
const ACTOR = "command-line";

/** Creates, lists and revokes tokens. The errors it throws have a `code` and a message for people without secrets. */
export interface TokenAdmin {
  create(request: CreateTokenRequest): Promise<CreatedToken>;
  list(): Promise<readonly TokenView[]>;
  revoke(id: string): Promise<void>;
  rotateKey(): Promise<void>;
}

/** A request that a stopped coordinator's data directory does not allow. */
export class TokenAdminError extends Error {
  readonly code = "token_admin";
}

/** How to reach a coordinator; `caFile` holds the authorities to trust in place of the system's. */
export interface ApiTokenAdminOptions extends Pick<ApiClientOptions, "url" | "token"> {
  readonly caFile: string | undefined;
}

/** Uses the API of a running coordinator as an admin. Throws ApiError. */
export class ApiTokenAdmin implements TokenAdmin {
  readonly #client: ApiClient;

  constructor({ url, token, caFile }: ApiTokenAdminOptions) {
    const ca = caFile === undefined ? undefined : readFileSync(caFile, "utf8");
    this.#client = new ApiClient({ url, token, ca });
  }

  create(body: CreateTokenRequest): Promise<CreatedToken> {
    return this.#client.call(accessApi.createToken, { body });
  }

  async list(): Promise<readonly TokenView[]> {
    return (await this.#client.call(accessApi.listTokens, {})).tokens;
  }

  revoke(id: string): Promise<void> {
    return this.#client.call(accessApi.revokeToken, { params: { id } });
  }

  rotateKey(): Promise<void> {
    return this.#client.call(accessApi.rotateKey, {});
  }
}

/** Uses the data directory of a stopped coordinator, opening it for each operation. Throws while a coordinator uses it. */
export class DatabaseTokenAdmin implements TokenAdmin {
  readonly #dataDir: string;

  constructor(dataDir: string) {
    this.#dataDir = dataDir;
  }

  async create(request: CreateTokenRequest): Promise<CreatedToken> {
    const parsed = createTokenRequestSchema.safeParse(request);
    if (!parsed.success)
      throw new TokenAdminError(
        parsed.error.issues.map((i) => `${i.path.join(".")}: ${i.message}`).join("; "),
      );
    return this.#change(accessApi.createToken, request.name, async (tokens) => {
      const outcome = await tokens.create(parsed.data, ACTOR);
      if (outcome.at === "created") return { token: outcome.view, secret: outcome.secret };
      const code = outcome.at === "name_taken" ? "token_exists" : "too_many_tokens";
      throw new TokenAdminError(errorRow(code).message);
    });
  }

  list(): Promise<readonly TokenView[]> {
    return this.#open((tokens) => tokens.list());
  }

  async revoke(id: string): Promise<void> {
    await this.#change(accessApi.revokeToken, id, (tokens) => tokens.revoke(id));
  }

  async rotateKey(): Promise<void> {
    await this.#change(accessApi.rotateKey, null, () => {
      rotateJwtKeys(this.#dataDir, loadJwtKeys(this.#dataDir));
    });
  }

  /** Makes a change and audits it as the API would. */
  #change<T>(
    contract: Contract,
    subject: string | null,
    change: (tokens: Tokens) => T | Promise<T>,
  ): Promise<T> {
    return this.#open(async (tokens, audit) => {
      const result = await change(tokens);
      const action = routeOf(contract);
      audit.record({ actor: ACTOR, address: null, action, subject, outcome: "ok" });
      return result;
    });
  }

  async #open<T>(use: (tokens: Tokens, audit: Audit) => T | Promise<T>): Promise<T> {
    const opened = openDb(this.#dataDir);
    const { db } = opened;
    try {
      const commits = new Committer(db, silentLog, new Bus());
      const tokens = new Tokens({
        db,
        commits,
        clock: systemClock,
        log: silentLog,
        configured: [],
        insecureDev: false,
      });
      return await use(tokens, new Audit(db, systemClock, silentLog));
    } finally {
      opened.close();
    }
  }
}
