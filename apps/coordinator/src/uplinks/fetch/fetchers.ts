/** The fetchers of all `http` entries of the config, as one part of the coordinator. (T7) */
import { type StreamId, streamIdOf } from "@fleet/protocol";
import { type Counts, LogLimiter } from "@fleet/daemon";
import { Fetcher, type FetcherDeps, type FetchSource } from "./fetcher.ts";

/** One `Fetcher` for each source. Start it after the trackers and stop it before them. */
export class Fetchers {
  readonly #all: readonly Fetcher[];

  constructor(deps: Omit<FetcherDeps, "logLimiter">, sources: readonly FetchSource[]) {
    const logLimiter = new LogLimiter(deps.clock);
    this.#all = sources.map((source) => new Fetcher({ ...deps, logLimiter }, source));
  }

  /** The outcomes of fetches so far, by stream. */
  outcomes(): readonly (readonly [StreamId, Counts])[] {
    return this.#all.map(({ source, outcomes }) => [streamIdOf(source.nodeId), outcomes]);
  }

  start(): void {
    for (const fetcher of this.#all) fetcher.start();
  }

  async stop(): Promise<void> {
    await Promise.all(this.#all.map((fetcher) => fetcher.stop()));
  }
}
