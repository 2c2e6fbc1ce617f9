/**
 * The in-process bus: what happens is published under a topic, whoever is interested listens. Best effort: a subscriber
 * that throws is counted and the others are served. Topics are dot-joined ids, such as `node.<id>.state`.
 */

/** Something that happened. */
export interface BusEvent {
  readonly topic: string;
  readonly atMs: number;
  readonly data: unknown;
}

type Handler = (event: BusEvent) => void;

interface Subscription {
  readonly pattern: readonly string[];
  readonly handler: Handler;
}

/** Most subscribers at once; one more is refused. */
export const SUBSCRIBERS_MAX = 1024;

/** Publishes synchronously, in order of subscription. In a pattern, `*` stands for one part and a last `>` for the rest. */
export class Bus {
  /** Subscribers that threw. */
  failures = 0;
  readonly #subscriptions = new Set<Subscription>();

  /** Whether anybody listens at all: lets a busy publisher skip making its event. */
  get idle(): boolean {
    return this.#subscriptions.size === 0;
  }

  publish(event: BusEvent): void {
    if (this.idle) return;
    const parts = event.topic.split(".");
    for (const { pattern, handler } of this.#subscriptions) {
      if (!matches(pattern, parts)) continue;
      try {
        handler(event);
      } catch {
        this.failures++;
      }
    }
  }

  /** Listens to topics that match; returns the function that ends it, or undefined when there are SUBSCRIBERS_MAX. */
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
