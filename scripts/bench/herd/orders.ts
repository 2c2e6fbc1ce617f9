/** The messages between the herd bench and its client processes, over Bun's IPC channel. */
import type { Sample } from "./member.ts";

/** The kinds of clients. */
export type Kind = "fleet" | "mqtt" | "etcd";

/** A message to a client process. */
export type Order =
  | {
      readonly do: "enter";
      readonly kind: Kind;
      readonly port: number;
      readonly first: number;
      readonly count: number;
      readonly intervalMs: number;
      /** Clients that enter at the same time. */
      readonly inFlight: number;
      readonly enrollToken: string;
    }
  /** Asks for `samples`, which the process then forgets. */
  | { readonly do: "take" }
  /** The server has been killed. The process answers `up` when every client is back. */
  | { readonly do: "outage" };

/** A message from a client process. */
export type Answer =
  | { readonly at: "ready" }
  | { readonly at: "up" }
  | { readonly at: "samples"; readonly samples: readonly Sample[] };
