/**
 * The coordinator's end of a plain node's connection: every line carries the node's id and push token; nothing is ever
 * answered. The first good line binds the connection to its node. (T1, R10, DESIGN §6)
 */
import { type LineDecoder, type NodeId, parsePlainLine, streamIdOf } from "@fleet/protocol";
import type { Auth } from "../auth.ts";
import type { Counts } from "../counts.ts";
import type { Registry } from "../registry/registry.ts";
import type { TrackerManager } from "../trackers/manager.ts";
import type { Tracker } from "../trackers/tracker.ts";

/** What a plain uplink needs from its connection. */
export interface PlainLink {
  pause(): void;
  resume(): void;
}

/** What plain uplinks share. */
export interface PlainDeps {
  readonly auth: Auth;
  readonly registry: Registry;
  readonly manager: TrackerManager;
  readonly counts: Counts;
}

/** What a line is counted as whose node is not taken as heard. */
const UNHEARD = {
  has_agent: "node_has_agent",
  blocked: "node_blocked",
  unavailable: "node_not_written",
  too_many: "too_many_nodes",
} as const;

/** One connection of a plain node. */
export class PlainUplink {
  readonly #deps: PlainDeps;
  readonly #link: PlainLink;
  #bound:
    | { readonly nodeId: NodeId; readonly token: string; readonly tokenName: string }
    | undefined;
  #tracker: Tracker | undefined;
  #paused = false;
  #closed = false;
  readonly #onLine = (bytes: Uint8Array, start: number, end: number): void =>
    this.#line(bytes, start, end);
  readonly #onOversized = (): void => this.#deps.counts.add("too_long");
  readonly #resume = (): void => {
    this.#paused = false;
    if (!this.#closed) this.#link.resume();
  };

  constructor(deps: PlainDeps, link: PlainLink) {
    this.#deps = deps;
    this.#link = link;
  }

  /** Whether a good line has come. */
  get authenticated(): boolean {
    return this.#bound !== undefined;
  }

  /** The node this connection is bound to. */
  get nodeId(): NodeId | undefined {
    return this.#bound?.nodeId;
  }

  data(chunk: Uint8Array, decoder: LineDecoder): void {
    decoder.push(chunk, this.#onLine, this.#onOversized);
    const receiver = this.#tracker?.receiver;
    // While the tracker is down nothing would make room, so the oldest are dropped instead.
    if (receiver === undefined || !receiver.full || !this.#tracker?.connected || this.#paused)
      return;
    this.#paused = true;
    this.#link.pause();
    receiver.onRoom(this.#resume);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#tracker?.receiver.offRoom(this.#resume);
    this.#tracker?.detach();
  }

  #line(bytes: Uint8Array, start: number, end: number): void {
    const { counts, registry } = this.#deps;
    const line = parsePlainLine(bytes, start, end);
    const from = line.at === "bad" ? line.from : line;
    const tokenName = from && this.#tokenName(from.nodeId, from.token);
    if (from === undefined || tokenName === undefined) {
      counts.add(line.at === "bad" && from === undefined ? line.problem : "refused_line");
      return;
    }
    const outcome = registry.heardPlain(from.nodeId);
    if (outcome !== "heard") {
      counts.add(UNHEARD[outcome]);
      return;
    }
    this.#bound ??= { nodeId: from.nodeId, token: from.token, tokenName };
    const tracker = this.#attached(from.nodeId, tokenName);
    if (line.at === "bad") counts.add(line.problem);
    if (line.at !== "frame" || tracker === undefined) return;
    // Of the stream, not the connection: a node that comes back may begin with the frame it sent last.
    if (line.timestampMs === tracker.lastTimestampMs) {
      counts.add("duplicate");
      return;
    }
    tracker.lastTimestampMs = line.timestampMs;
    tracker.receiver.writeDroppable(line.bytes);
    tracker.sawFrames();
  }

  /**
   * What the line's token is called; undefined when it lets nobody in. The bound id and token need no second look: whoever
   * repeats them on this connection has shown them before.
   */
  #tokenName(nodeId: NodeId, token: string): string | undefined {
    if (this.#bound !== undefined && nodeId !== this.#bound.nodeId) return undefined;
    if (this.#bound?.token === token) return this.#bound.tokenName;
    return this.#deps.auth.pushTokenName(token);
  }

  /** Asked again with each line while refused, so that a freed port is found. */
  #attached(nodeId: NodeId, tokenName: string): Tracker | undefined {
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
