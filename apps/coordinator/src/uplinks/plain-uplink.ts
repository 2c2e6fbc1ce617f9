/**
 * The coordinator's end of a plain node's connection. Every line carries the node's id and push token, and no line is
 * answered. The first valid line binds the connection to its node. Connection creates one for each plain node. (T1, R10)
 */
import { LineDecoder, type NodeId, parsePlainLine, streamIdOf } from "@fleet/protocol";
import type { Auth } from "../auth/auth.ts";
import { isTokenFor, type Token } from "../auth/token.ts";
import type { Counts } from "@fleet/daemon";
import type { Registry } from "../registry/registry.ts";
import type { TrackerManager } from "../trackers/manager.ts";
import type { Tracker } from "../trackers/tracker.ts";

/** The first valid line must be among this many, or the connection is refused. */
const UNAUTHENTICATED_LINES_MAX = 16;
/** Bad lines after which a connection must have sent more good ones than those, or it is refused. */
const JUNK_LINES_MAX = 1000;

/** What a plain uplink uses of its connection. */
export interface PlainLink {
  pause(): void;
  resume(): void;
}

/** What all plain uplinks share. */
export interface PlainDeps {
  readonly auth: Auth;
  readonly registry: Registry;
  readonly manager: TrackerManager;
  readonly counts: Counts;
}

/** How a line is counted whose node the registry refuses, by the reason. */
const REFUSED_NODE = {
  has_agent: "node_has_agent",
  blocked: "node_blocked",
  unavailable: "node_not_written",
  too_many: "too_many_nodes",
} as const;

interface Bound {
  readonly nodeId: NodeId;
  /** The push token as it was sent, and its record. */
  readonly secret: string;
  readonly token: Token;
}

/** One connection of a plain node. */
export class PlainUplink {
  readonly #deps: PlainDeps;
  readonly #link: PlainLink;
  readonly #address: string;
  #bound: Bound | undefined;
  /** Whether a wrong token was sent. */
  #hasFailed = false;
  #tracker: Tracker | undefined;
  #isPaused = false;
  #isClosed = false;
  #lines = 0;
  #goodLines = 0;
  readonly #decoder = new LineDecoder();
  readonly #onLine = (bytes: Uint8Array, start: number, end: number): void => {
    this.#line(bytes, start, end);
    this.#countLine();
  };
  readonly #onOversized = (): void => {
    this.#deps.counts.add("too_long");
    this.#countLine();
  };
  readonly #resume = (): void => {
    this.#isPaused = false;
    if (!this.#isClosed) this.#link.resume();
  };

  constructor(deps: PlainDeps, link: PlainLink, address: string) {
    this.#deps = deps;
    this.#link = link;
    this.#address = address;
  }

  /** Whether a valid line has arrived. */
  get isAuthenticated(): boolean {
    return this.#bound !== undefined;
  }

  /** Whether it has sent too many lines before a valid one, or mostly bad ones. It reads no further then. */
  get isJunk(): boolean {
    const junk = this.#lines - this.#goodLines;
    if (this.#bound === undefined) return this.#lines >= UNAUTHENTICATED_LINES_MAX;
    return junk > JUNK_LINES_MAX && junk > this.#goodLines;
  }

  /** The node that this connection is bound to. */
  get nodeId(): NodeId | undefined {
    return this.#bound?.nodeId;
  }

  /** The id of the push token that it authenticated with. */
  get tokenId(): string | undefined {
    return this.#bound?.token.id;
  }

  /** Whether a wrong token was sent, from an address that has sent too many. */
  get isGuessing(): boolean {
    return this.#hasFailed && this.#deps.auth.throttledMs(this.#address) !== undefined;
  }

  data(chunk: Uint8Array): void {
    this.#decoder.push(chunk, this.#onLine, this.#onOversized);
    if (this.#isPaused || this.#tracker?.isCongested !== true) return;
    this.#isPaused = true;
    this.#link.pause();
    this.#tracker.queue.onRoom(this.#resume);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#tracker?.queue.offRoom(this.#resume);
    this.#tracker?.detach();
  }

  #countLine(): void {
    this.#lines++;
    if (this.isJunk) this.#decoder.stop();
  }

  #line(bytes: Uint8Array, start: number, end: number): void {
    const { counts, registry } = this.#deps;
    const line = parsePlainLine(bytes, start, end);
    const from = line.at === "bad" ? line.from : line;
    if (from === undefined) {
      counts.add(line.at === "bad" ? line.problem : "refused_line");
      return;
    }
    const token = this.#tokenOf(from.nodeId, from.token);
    if (typeof token === "string") {
      counts.add(token);
      return;
    }
    const outcome = registry.heardPlain(from.nodeId, token.groups[0] ?? null);
    if (outcome !== "heard") {
      counts.add(REFUSED_NODE[outcome]);
      return;
    }
    this.#bound ??= { nodeId: from.nodeId, secret: from.token, token };
    const tracker = this.#attachedTracker(from.nodeId, token.name);
    if (line.at === "bad") counts.add(line.problem);
    else this.#goodLines++;
    if (line.at !== "frame" || tracker === undefined) return;
    if (!tracker.offerDroppable(line.frame)) counts.add("duplicate");
  }

  /**
   * The line's push token, or how the refused line is counted. The id and token that the connection is bound to are not
   * looked up again: the connection is closed when the token ends.
   */
  #tokenOf(nodeId: NodeId, secret: string): Token | "refused_line" | "token_not_for_node" {
    const { auth, registry } = this.#deps;
    const bound = this.#bound;
    if (bound !== undefined && nodeId !== bound.nodeId) return "refused_line";
    if (bound?.secret === secret) return bound.token;
    if (auth.waitMs(this.#address, secret, "frames") !== undefined) return this.#fail();
    const token = auth.tokens.find("push", secret);
    if (token === undefined) {
      auth.addFailure(this.#address, "frames");
      return this.#fail();
    }
    const known = registry.get(nodeId);
    const group = known === undefined ? (token.groups[0] ?? null) : known.row.group;
    return isTokenFor(token, nodeId, group) ? token : "token_not_for_node";
  }

  #fail(): "refused_line" {
    this.#hasFailed = true;
    return "refused_line";
  }

  /** The attached tracker. While it is refused, each line tries again, so that a freed port is found. */
  #attachedTracker(nodeId: NodeId, tokenName: string): Tracker | undefined {
    if (this.#tracker !== undefined) return this.#tracker;
    const tracker = this.#deps.manager.attachPushed(streamIdOf(nodeId), tokenName);
    if (typeof tracker === "string") {
      this.#deps.counts.add(tracker);
      return undefined;
    }
    this.#tracker = tracker;
    return tracker;
  }
}
