/** How the frames of a stream reach the coordinator. The config decides; streams that it does not name are pushed. (T2, T7) */

/** `tcp`: pushed over the frame port. `http`: fetched from `url`, which holds no credentials. `name` is the entry's name in the config. */
export type Feed =
  | { readonly name: string | null; readonly mode: "tcp"; readonly url: null }
  | { readonly name: string; readonly mode: "http"; readonly url: string };

/** The feed of a stream that the config does not name. */
export const PUSHED: Feed = { name: null, mode: "tcp", url: null };
