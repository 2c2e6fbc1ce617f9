/** The interface of the herd bench's simulated clients, and how they record their requests. */

/** How a request ended: with success, a 5xx status, another refusal, or without an answer. */
export type Outcome = "ok" | "server_error" | "refused" | "lost";

/** One request. `atMs` is its start, Unix ms; `ms` its duration; `index` the member's. */
export interface Sample {
  readonly index: number;
  readonly atMs: number;
  readonly ms: number;
  readonly outcome: Outcome;
}

/** Where a member connects, and how it reports. */
export interface MemberOptions {
  readonly index: number;
  readonly host: string;
  readonly port: number;
  /** Time between check-ins, ms. */
  readonly intervalMs: number;
  readonly note: (sample: Sample) => void;
  /** Called when the member has a working connection, for the first time or again. */
  readonly onUp: () => void;
}

/** A simulated client. */
export interface Member {
  /** Connects for the first time. From then on the member reconnects by itself. */
  enter(): void;
  /** Tells the member that the server is gone, for protocols without a connection that would show it. */
  lost(): void;
}
