/** Everything that decides who somebody is and what they may do, in one place for the routes and the frame port. (H5) */
import { type Clock, Counts, type Log, LogLimiter, type Service } from "@fleet/daemon";
import type { NodeId, Role, TokenKind } from "@fleet/protocol";
import type { Db } from "../db/open.ts";
import { Audit } from "./audit.ts";
import { Credentials } from "./credentials.ts";
import { AuthFailures } from "./failures.ts";
import { type GivenToken, Tokens } from "./tokens.ts";

/** Tokens from the environment and from files. */
export interface GivenTokens {
  readonly given: readonly GivenToken[];
  /** No token of a kind is taken as none required. For trials on one machine. */
  readonly insecureDev: boolean;
}

/** Where a token was shown. */
type AuthPort = "http" | "frames";

/** What a valid token is, and whose when it is one node's. */
export interface Bearer {
  readonly kind: TokenKind;
  readonly nodeId: NodeId | undefined;
  /** The epoch a node's was issued at. */
  readonly epoch: number | undefined;
  /** Of shared tokens. */
  readonly name: string | undefined;
  readonly role: Role | undefined;
}

/** The parts, and the question that all of them answer together. */
export class Auth implements Service {
  readonly tokens: Tokens;
  readonly credentials: Credentials;
  readonly failures: AuthFailures;
  readonly audit: Audit;
  /** Tokens that opened nothing, by where they were shown and whether they were looked at. */
  readonly refused = new Counts();
  readonly #log: Log;
  readonly #logLimiter: LogLimiter;

  /** Keys lie in `dataDir`. Throws KeyFileError. */
  constructor(
    db: Db,
    dataDir: string,
    clock: Clock,
    log: Log,
    { given, insecureDev }: GivenTokens,
  ) {
    this.tokens = new Tokens(db, clock, log, given, insecureDev);
    this.credentials = new Credentials(clock, dataDir);
    this.failures = new AuthFailures(clock);
    this.audit = new Audit(db, clock, log);
    this.#log = log;
    this.#logLimiter = new LogLimiter(clock);
  }

  start(): void {
    this.tokens.start();
    this.audit.start();
  }

  async stop(): Promise<void> {
    await this.tokens.stop();
    await this.audit.stop();
  }

  /**
   * How long `address` has to wait before `token` is looked at, ms; undefined: it may be. To be asked before `tokens` is.
   */
  waitMs(address: string, token: string, where: AuthPort): number | undefined {
    const waitMs = this.failures.waitMs(address, token);
    if (waitMs !== undefined) this.refused.add(`${where}_limited`);
    return waitMs;
  }

  /** `address` has shown a token that opens nothing. How long it has to wait now, ms; undefined: not at all. */
  failed(address: string, where: AuthPort): number | undefined {
    this.refused.add(where);
    this.failures.add(address);
    const held = this.#logLimiter.pass(address);
    if (held !== undefined) this.#log.warn({ address, where, held_back: held }, "wrong token");
    return this.failures.limitedMs(address);
  }

  /** What `token` is; undefined when it opens nothing. Where no token is needed to enrol, one that is nothing else, or none, enrols. */
  async identify(token: string | undefined): Promise<Bearer | undefined> {
    if (token !== undefined) {
      const access = await this.credentials.verifyAccess(token);
      if (access !== undefined) return ofNode("access", access);
      const refresh = await this.credentials.verifyRefresh(token);
      if (refresh !== undefined) return ofNode("refresh", refresh);
    }
    const shared = this.tokens.identify(token);
    if (shared === undefined) return undefined;
    const { kind, name, role } = shared;
    return { kind, nodeId: undefined, epoch: undefined, name, role: role ?? undefined };
  }
}

function ofNode(
  kind: "access" | "refresh",
  { nodeId, epoch }: { readonly nodeId: NodeId; readonly epoch: number },
): Bearer {
  return { kind, nodeId, epoch, name: undefined, role: undefined };
}
