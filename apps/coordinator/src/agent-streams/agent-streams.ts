/**
 * The event stream of each agent, `GET /api/v1/agents/{id}/events` (server-sent events, WHATWG HTML §9.2): by its end an
 * agent learns at once that its coordinator, or its claim to the node, has gone. One stream per node; a new one replaces
 * the old. Bounded: an agent that leaves STREAM_BYTES_MAX unread is cut off. (C1, R9)
 */
import { type Clock, every, type Timer } from "@fleet/daemon";
import type { NodeId } from "@fleet/protocol";
import type { AccessClaims } from "../auth/credentials.ts";

/** How long a stream is silent at most, ms. (C1) */
const KEEPALIVE_MS = 15_000;
const TICK_MS = 1000;
const STREAM_BYTES_MAX = 64 * 1024;
/** How long an agent that was cut off may take to read what was sent to it, seconds. */
const CUT_S = 5;

/** Why a stream was ended; what a `bye` event says. */
export type StreamEnd = "replaced" | "superseded" | "token_expired" | "token_revoked" | "draining";

/** The connection a stream is sent on. */
export interface StreamLink {
  /** How long it may be silent, in seconds; 0 for ever. */
  readonly allowSilence: (seconds: number) => void;
}

interface Stream {
  readonly claims: AccessClaims;
  readonly link: StreamLink;
  readonly controller: Pick<
    ReadableStreamDefaultController<Uint8Array>,
    "enqueue" | "close" | "desiredSize"
  >;
  sentMs: number;
}

const encoder = new TextEncoder();
const OPEN = encoder.encode(": open\n\n");
const KEEPALIVE = encoder.encode(": keepalive\n\n");

/** Keeps the open streams. */
export class AgentStreams {
  readonly #clock: Clock;
  readonly #streams = new Map<NodeId, Stream>();
  #timer: Timer | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** How many are open. */
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

  /** The body of a new stream for the bearer of `claims`, which must be current. */
  open(claims: AccessClaims, link: StreamLink): ReadableStream<Uint8Array> {
    this.end(claims.nodeId, "replaced");
    let forget = (): unknown => undefined;
    return new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          const stream: Stream = { claims, link, controller, sentMs: 0 };
          forget = () => this.#forget(stream);
          this.#streams.set(claims.nodeId, stream);
          link.allowSilence(0);
          this.#send(stream, OPEN);
        },
        cancel: () => void forget(),
      },
      { highWaterMark: STREAM_BYTES_MAX, size: (bytes) => bytes?.length ?? 0 },
    );
  }

  /** Ends the stream of a node; false when there is none. */
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
      else if (nowMs - stream.sentMs >= KEEPALIVE_MS) this.#send(stream, KEEPALIVE);
    }
  }

  #send(stream: Stream, bytes: Uint8Array): void {
    if ((stream.controller.desiredSize ?? 0) <= 0) {
      this.#close(stream);
      return;
    }
    stream.sentMs = this.#clock.monotonicMs();
    stream.controller.enqueue(bytes);
  }

  #end(stream: Stream, code: StreamEnd): void {
    this.#send(stream, encoder.encode(`event: bye\ndata: {"code":"${code}"}\n\n`));
    this.#close(stream);
  }

  #close(stream: Stream): void {
    if (!this.#forget(stream)) return;
    stream.controller.close();
    stream.link.allowSilence(CUT_S);
  }

  /** False when it had gone already. */
  #forget(stream: Stream): boolean {
    const { nodeId } = stream.claims;
    return this.#streams.get(nodeId) === stream && this.#streams.delete(nodeId);
  }
}
