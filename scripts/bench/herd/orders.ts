/** What the herd bench and its processes of clients say to one another, over Bun's channel between them. */
import type { Sample } from "./member.ts";

/** Who the clients are. */
export type Kind = "fleet" | "mqtt" | "etcd";

/** To a process of clients. */
export type Order =
  | {
      readonly do: "enter";
      readonly kind: Kind;
      readonly port: number;
      readonly first: number;
      readonly count: number;
      readonly intervalMs: number;
      /** Clients that are on their way in at once. */
      readonly inFlight: number;
      readonly enrollToken: string;
    }
  /** Answers with `samples` and forgets them. */
  | { readonly do: "take" }
  /** The server has been killed; `up` comes when every client is back. */
  | { readonly do: "outage" };

/** From a process of clients. */
export type Answer =
  | { readonly at: "ready" }
  | { readonly at: "up" }
  | { readonly at: "samples"; readonly samples: readonly Sample[] };
