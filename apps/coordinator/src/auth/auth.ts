/**
 * Answers who presents a token and what it allows. The HTTP routes and the frame port share this one instance, so that
 * wrong tokens count the same on both. (H5)
 */
import { type Clock, ConfigError, Counts, type Log, LogLimiter, type Service } from "@fleet/daemon";
import type { NodeId, Role, TokenKind } from "@fleet/protocol";
import type { Committer } from "../db/commit.ts";
import type { Db } from "../db/open.ts";
import { Audit } from "./audit.ts";
import { Credentials } from "./credentials.ts";
import { Throttle } from "./throttle.ts";
import { Tokens, type TokenSettings } from "./tokens.ts";

/** What Auth is built from. */
export interface AuthOptions {
  readonly db: Db;
  readonly commits: Committer;
  /** The directory of the signing keys. */
  readonly dataDir: string;
  readonly tokens: TokenSettings;
  readonly clock: Clock;
  readonly log: Log;
}

/** The port a token was presented to. */
type AuthPort = "http" | "frames";

/** What a valid token is. `nodeId` and `epoch` belong to credentials of one node, `name` and `role` to shared tokens. */
export interface Bearer {
  readonly kind: TokenKind;
  readonly nodeId: NodeId | undefined;
  /** The epoch the credentials were issued at. */
  readonly epoch: number | undefined;
  readonly name: string | undefined;
  readonly role: Role | undefined;
}

/** Owns tokens, credentials, the audit log and the throttle of wrong tokens. */
export class Auth implements Service {
  readonly tokens: Tokens;
  readonly credentials: Credentials;
  readonly audit: Audit;
  /** Refused tokens by port; those the throttle kept from being checked count as `http_limited` and `frames_limited`. */
  readonly refused = new Counts();
  readonly #throttle: Throttle;
  readonly #insecureDev: boolean;
  readonly #log: Log;
  readonly #logLimiter: LogLimiter;

  /** Reads the signing keys. Throws KeyFileError. */
  constructor({ db, commits, dataDir, tokens, clock, log }: AuthOptions) {
    this.tokens = new Tokens({ db, commits, clock, log, ...tokens });
    this.credentials = new Credentials(clock, dataDir);
    this.audit = new Audit(db, clock, log);
    this.#throttle = new Throttle(clock);
    this.#insecureDev = tokens.insecureDev;
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
   * Throws ConfigError if there is no enrolment or no operator token, since then nobody could ever use the coordinator.
   * Expired and revoked tokens count: a fleet must not fail to start because of a date. (H5)
   */
  requireTokens(): void {
    if (this.#insecureDev) return;
    const problems = [
      ...(this.tokens.has("enroll") ? [] : ["FLEET_ENROLL_TOKEN: agents could not register"]),
      ...(this.tokens.has("operator") ? [] : ["FLEET_OPERATOR_TOKEN: nobody could use the API"]),
    ];
    if (problems.length > 0)
      throw new ConfigError(
        "tokens are missing; set each variable or NAME_FILE, create tokens with `token create --data-dir`, or use --insecure-dev",
        problems,
      );
  }

  /** Milliseconds until `token` from `address` may be checked; undefined if it may be checked now. Ask before `tokens`. */
  waitMs(address: string, token: string, port: AuthPort): number | undefined {
    const waitMs = this.#throttle.waitMs(address, token);
    if (waitMs !== undefined) this.refused.add(`${port}_limited`);
    return waitMs;
  }

  /** Milliseconds until `address` is no longer throttled; undefined if it isn't throttled. */
  throttledMs(address: string): number | undefined {
    return this.#throttle.throttledMs(address);
  }

  /** Counts a wrong token from `address`. Returns for how many milliseconds the address is throttled; undefined if it isn't. */
  addFailure(address: string, port: AuthPort): number | undefined {
    this.refused.add(port);
    this.#throttle.addFailure(address);
    const held = this.#logLimiter.pass(address);
    if (held !== undefined)
      this.#log.warn({ address, where: port, held_back: held }, "wrong token");
    return this.#throttle.throttledMs(address);
  }

  /** Whether `token` is or was issued here, of whatever kind; its bearer is not guessing. */
  isKnown(token: string): boolean {
    return this.tokens.identify(token) !== undefined || this.credentials.isIssuedHere(token);
  }

  /** What `token` is; undefined if it is not valid. With `insecureDev` and no valid enrolment token, any other token or none enrols. */
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
