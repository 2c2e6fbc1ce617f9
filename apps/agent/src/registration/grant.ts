/** What a registration gives the agent: who it is to the coordinator, with which token, and where its frames go. */
import type { FrameEndpoint, InstanceId, NodeId } from "@fleet/protocol";

/** Valid until the next one; made by registration.ts, used by the uplinks. */
export interface Grant {
  readonly nodeId: NodeId;
  readonly instanceId: InstanceId;
  readonly epoch: number;
  readonly accessToken: string;
  readonly frames: FrameEndpoint;
}
