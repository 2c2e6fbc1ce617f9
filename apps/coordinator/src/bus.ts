/**
 * The in-process bus: a closed union of events, published synchronously under topics such as `node.<id>.state`. Events are
 * plain serialisable objects. Delivery is best effort: a subscriber that throws is counted and the others still receive the
 * event. Published to by the committer and the trackers; read by the event stream of the HTTP API.
 */
import type { NodeEventView, NodeId, NodeState, StreamId, TrackerView } from "@fleet/protocol";

/** What each kind of node event carries, as the API shows it. The kinds are the API's events with `node.` before them. */
interface NodeEventData {
  readonly "node.registered":
    | { readonly kind: "plain" }
    | {
        readonly kind: "agent";
        readonly version: string | null;
        readonly instance_id: string | null;
        readonly epoch: number;
      };
  readonly "node.reenrolled": { readonly instance_id: string | null; readonly epoch: number };
  readonly "node.superseded": { readonly instance_id: string | null; readonly epoch: number };
  readonly "node.contested": Record<string, never>;
  readonly "node.state": { readonly state: NodeState; readonly previous_state: NodeState };
  readonly "node.removed": { readonly cause: "operator" | "aged_out" };
  readonly "node.blocked": Record<string, never>;
  readonly "node.unblocked": Record<string, never>;
}

type NodeEventKind = keyof NodeEventData & `node.${NodeEventView["event"]}`;

/** An event of one kind about a node. `atMs` is Unix ms. */
interface NodeEventOf<Kind extends NodeEventKind> {
  readonly kind: Kind;
  readonly nodeId: NodeId;
  readonly atMs: number;
  readonly data: NodeEventData[Kind];
}

/** An event about a node, kept in its history. */
export type NodeEvent = { [Kind in NodeEventKind]: NodeEventOf<Kind> }[NodeEventKind];

/** A tracker changed state. */
interface TrackerEvent {
  readonly kind: "tracker.state";
  readonly streamId: StreamId;
  readonly atMs: number;
  readonly data: {
    readonly state: TrackerView["state"];
    readonly previous_state: TrackerView["state"];
  };
}

/** A tracker reported an event of a track; the event itself is in the track files. */
interface TrackEvent {
  readonly kind: "track";
  readonly streamId: StreamId;
  readonly atMs: number;
  readonly data: { readonly track_id: string | undefined; readonly run: number };
}

/** Everything that is published. */
export type BusEvent = NodeEvent | TrackerEvent | TrackEvent;

/** The topic an event is published under: dot-joined ids. */
export function topicOf(event: BusEvent): string {
  switch (event.kind) {
    case "tracker.state":
      return `tracker.${event.streamId}.state`;
    case "track":
      return `track.${event.streamId}`;
    default:
      return `node.${event.nodeId}.${nodeEventName(event)}`;
  }
}

/** An event's body on the wire, without its time: the id of its subject, then its data. */
export function payloadOf(event: BusEvent): Readonly<Record<string, unknown>> {
  const subject = "nodeId" in event ? { node_id: event.nodeId } : { stream_id: event.streamId };
  return { ...subject, ...event.data };
}

/** What the API calls a node event. */
export function nodeEventName({ kind }: NodeEvent): NodeEventView["event"] {
  return kind.slice("node.".length) as NodeEventView["event"];
}

type Handler = (event: BusEvent) => void;

interface Subscription {
  readonly pattern: readonly string[];
  readonly handler: Handler;
}

/** Maximum number of subscribers; one more is refused. */
export const SUBSCRIBERS_MAX = 1024;

/** Publishes in order of subscription. In a pattern, `*` matches one part of a topic and a last `>` one or more. */
export class Bus {
  /** Calls of subscribers that threw. */
  failures = 0;
  readonly #subscriptions = new Set<Subscription>();

  /** Whether there is no subscriber; a busy publisher then need not create its event. */
  get isIdle(): boolean {
    return this.#subscriptions.size === 0;
  }

  publish(event: BusEvent): void {
    if (this.isIdle) return;
    const parts = topicOf(event).split(".");
    for (const { pattern, handler } of this.#subscriptions) {
      if (!matches(pattern, parts)) continue;
      try {
        handler(event);
      } catch {
        this.failures++;
      }
    }
  }

  /** Subscribes to the topics that match; returns the function that unsubscribes, or undefined at SUBSCRIBERS_MAX. */
  subscribe(pattern: string, handler: Handler): (() => void) | undefined {
    if (this.#subscriptions.size >= SUBSCRIBERS_MAX) return undefined;
    const subscription = { pattern: pattern.split("."), handler };
    this.#subscriptions.add(subscription);
    return () => void this.#subscriptions.delete(subscription);
  }
}

function matches(pattern: readonly string[], topic: readonly string[]): boolean {
  for (let i = 0; i < pattern.length; i++) {
    if (pattern[i] === ">" && i === pattern.length - 1) return topic.length > i;
    if (i >= topic.length || (pattern[i] !== "*" && pattern[i] !== topic[i])) return false;
  }
  return pattern.length === topic.length;
}
