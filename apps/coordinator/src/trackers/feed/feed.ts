/** How the frames of a stream come to the coordinator. The config decides it; what it doesn't name is pushed. (T2, T7) */

/** `tcp`: pushed over the frame port. `http`: fetched from `url`, which holds no credentials. `name` is the config's for it. */
export type Feed =
  | { readonly name: string | null; readonly mode: "tcp"; readonly url: null }
  | { readonly name: string; readonly mode: "http"; readonly url: string };

/** The feed of every stream that no config names. */
export const PUSHED: Feed = { name: null, mode: "tcp", url: null };
