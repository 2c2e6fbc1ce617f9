/** What each simulated client of the herd bench is, whatever it speaks, and how what happens to it is written down. */

/** How a request ended: answered, answered with a failure of the server's, refused otherwise, or not at all. */
export type Outcome = "ok" | "server_error" | "refused" | "lost";

/** One request. Times are Unix ms; `index` is the member's. */
export interface Sample {
  readonly index: number;
  readonly atMs: number;
  readonly ms: number;
  readonly outcome: Outcome;
}

/** Where a member is, whom it tells. */
export interface MemberOptions {
  readonly index: number;
  readonly host: string;
  readonly port: number;
  /** How often it checks in, ms. */
  readonly intervalMs: number;
  readonly note: (sample: Sample) => void;
  /** It has a working connection again, or is in for the first time. */
  readonly onUp: () => void;
}

/** A client. */
export interface Member {
  /** Comes in, and stays by itself for ever after. */
  enter(): void;
  /** Hears that the server has gone, where its protocol has no connection that would tell. */
  lost(): void;
}
