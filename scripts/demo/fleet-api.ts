/** Asks the demo's coordinator how things stand. */
import type {
  NodeList,
  NodeView,
  TrackerList,
  TrackerView,
} from "../../packages/protocol/src/index.ts";

const ANSWER_MS_MAX = 3000;

/** What the coordinator says. */
export interface Answer {
  readonly nodes: readonly NodeView[];
  readonly trackers: readonly TrackerView[];
}

/** The operator's view of the coordinator at `url`. */
export class FleetApi {
  readonly #url: string;
  readonly #token: string;

  constructor(url: string, token: string) {
    this.#url = url;
    this.#token = token;
  }

  /** Whether it answers that it is ready. Never rejects. */
  async isReady(): Promise<boolean> {
    try {
      return (await this.#get("/readyz")).ok;
    } catch {
      return false;
    }
  }

  /** Nodes and trackers. Rejects when they can't be had. */
  async ask(): Promise<Answer> {
    const [{ agents: nodes }, { trackers }] = await Promise.all([
      this.#json<NodeList>("/api/v1/agents"),
      this.#json<TrackerList>("/api/v1/trackers"),
    ]);
    return { nodes, trackers };
  }

  /** The metrics' text. Rejects when it can't be had. */
  async metrics(): Promise<string> {
    return (await this.#get("/metrics")).text();
  }

  async #json<T>(path: string): Promise<T> {
    const response = await this.#get(path);
    if (!response.ok) throw new Error(`${path}: HTTP ${response.status}`);
    return (await response.json()) as T;
  }

  #get(path: string): Promise<Response> {
    return fetch(`${this.#url}${path}`, {
      headers: { Authorization: `Bearer ${this.#token}` },
      signal: AbortSignal.timeout(ANSWER_MS_MAX),
    });
  }
}
