/** The frame port's address, as agents are told it. */
import type { FrameEndpoint } from "@fleet/protocol";
import type { Context } from "hono";

/** The frame port; `host` undefined stands for the host of the agent's own request. */
export type Frames = () => Omit<FrameEndpoint, "host"> & { readonly host: string | undefined };

/** The address for the client of this request. */
export function frameEndpoint(frames: Frames, c: Context): FrameEndpoint {
  const { host, port, tls } = frames();
  // An agent that reached this host by some name reaches the frame port by it too. IPv6 literals lose their brackets.
  const requested = new URL(c.req.url).hostname.replace(/^\[|\]$/g, "");
  return { host: host ?? requested, port, tls };
}
