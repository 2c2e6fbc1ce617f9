/** Where an agent's sessions are to connect. */
import type { FrameEndpoint } from "@fleet/protocol";
import type { Context } from "hono";

/** The frame port; `host` undefined stands for the host the agent asked. */
export type Frames = () => Omit<FrameEndpoint, "host"> & { readonly host: string | undefined };

/** Where the asker's sessions connect. */
export function frameEndpoint(frames: Frames, c: Context): FrameEndpoint {
  const { host, port, tls } = frames();
  // An agent that reached us by this name reaches the frame port by it too. IPv6 literals lose their brackets.
  const asked = new URL(c.req.url).hostname.replace(/^\[|\]$/g, "");
  return { host: host ?? asked, port, tls };
}
