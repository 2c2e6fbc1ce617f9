/** What demo and chaos observe of a coordinator: its nodes, trackers and metrics. */
import { ApiClient } from "../../packages/api-client/src/index.ts";
import {
  nodesApi,
  type NodeView,
  serviceApi,
  trackersApi,
  type TrackerView,
} from "../../packages/protocol/src/index.ts";

const TIMEOUT_MS = 3000;

/** The first page of nodes and of trackers, which is all of them here. */
export interface Answer {
  readonly nodes: readonly NodeView[];
  readonly trackers: readonly TrackerView[];
}

/** The operators' API of the coordinator at `url`. */
export class FleetApi {
  readonly #client: ApiClient;

  constructor(url: string, token: string) {
    this.#client = new ApiClient({ url, token, timeoutMs: TIMEOUT_MS });
  }

  /** Whether the coordinator responds that it is ready. Never rejects. */
  async isReady(): Promise<boolean> {
    return (await this.#client.attempt(serviceApi.readiness, {})).at === "ok";
  }

  /** Returns nodes and trackers. Throws ApiError. */
  async ask(): Promise<Answer> {
    const [{ agents: nodes }, { trackers }] = await Promise.all([
      this.#client.call(nodesApi.list, {}),
      this.#client.call(trackersApi.list, {}),
    ]);
    return { nodes, trackers };
  }

  /** Returns the metrics in the Prometheus text format. Throws ApiError. */
  metrics(): Promise<string> {
    return this.#client.call(serviceApi.metrics, {});
  }
}
