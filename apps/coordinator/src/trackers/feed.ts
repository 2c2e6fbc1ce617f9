/** How the frames of a stream come to the coordinator. The config decides it; what it doesn't name is pushed. (T2, T7) */

/** `tcp`: pushed over the frame port. `http`: fetched from `url`, which holds no credentials. */
export type Feed =
  | { readonly mode: "tcp"; readonly url: null }
  | { readonly mode: "http"; readonly url: string };

/** The feed of every stream that the config does not say to fetch. */
export const PUSHED: Feed = { mode: "tcp", url: null };
