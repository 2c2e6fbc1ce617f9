/**
 * The agents' event streams, `GET /api/v1/agents/{id}/events`. By the end of its stream an agent learns at once that its
 * coordinator is gone or that it may no longer speak for its node. One stream per node; a new one replaces the old. An agent
 * that leaves STREAM_BYTES_MAX unread is disconnected. (C1, R9)
 */
import { type Clock, every, EventWriter, type Timer } from "@fleet/daemon";
import type { NodeId } from "@fleet/protocol";
import type { AccessClaims } from "../auth/credentials.ts";

/** The longest silence on a stream, in ms. (C1) */
const KEEPALIVE_MS = 15_000;
const TICK_MS = 1000;
const STREAM_BYTES_MAX = 64 * 1024;
/** How long a disconnected agent may take to read what was already sent, in seconds. */
const DRAIN_S = 5;

/** Why a stream ends; the code of its `bye` event. */
export type StreamEnd = "replaced" | "superseded" | "token_expired" | "token_revoked" | "draining";

/** The connection of a stream. */
export interface StreamLink {
  /** Sets how long the connection may be silent, in seconds; 0 means for ever. */
  readonly allowSilence: (seconds: number) => void;
}

interface Stream {
  readonly claims: AccessClaims;
  readonly writer: EventWriter;
  /** When something was last written, in monotonic ms. */
  sentMs: number;
}

/** The open streams, by node. */
export class AgentStreams {
  readonly #clock: Clock;
  readonly #streams = new Map<NodeId, Stream>();
  #timer: Timer | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The number of open streams. */
  get size(): number {
    return this.#streams.size;
  }

  start(): void {
    this.#timer = every(this.#clock, TICK_MS, () => this.#tick());
  }

  async stop(): Promise<void> {
    this.#timer?.cancel();
    for (const stream of this.#streams.values()) this.#end(stream, "draining");
  }

  /** Opens a stream for the bearer of `claims`, which must be current, and returns the response's body. */
  open(claims: AccessClaims, link: StreamLink): ReadableStream<Uint8Array> {
    this.end(claims.nodeId, "replaced");
    const writer = new EventWriter({ bytes: STREAM_BYTES_MAX }, (cause) => {
      // The node may have a newer stream.
      if (this.#streams.get(claims.nodeId) === stream) this.#streams.delete(claims.nodeId);
      if (cause === "server") link.allowSilence(DRAIN_S);
    });
    const stream: Stream = { claims, writer, sentMs: this.#clock.monotonicMs() };
    this.#streams.set(claims.nodeId, stream);
    link.allowSilence(0);
    writer.comment("open");
    return writer.body;
  }

  /** Ends the node's stream; false when it has none. */
  end(node: NodeId, code: StreamEnd): boolean {
    const stream = this.#streams.get(node);
    if (stream !== undefined) this.#end(stream, code);
    return stream !== undefined;
  }

  #tick(): void {
    const nowMs = this.#clock.monotonicMs();
    const wallMs = this.#clock.nowMs();
    for (const stream of this.#streams.values()) {
      if (wallMs >= stream.claims.expiresMs) this.#end(stream, "token_expired");
      else if (nowMs - stream.sentMs >= KEEPALIVE_MS) {
        stream.sentMs = nowMs;
        stream.writer.comment("keepalive");
      }
    }
  }

  #end({ writer }: Stream, code: StreamEnd): void {
    writer.send({ event: "bye", data: JSON.stringify({ code }) });
    writer.close();
  }
}
