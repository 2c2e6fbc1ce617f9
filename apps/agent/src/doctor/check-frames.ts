/** Whether the port that takes frames can be reached, where the coordinator says it is. (A9) */
import type { Clock } from "@fleet/daemon";
import type { FrameEndpoint } from "@fleet/protocol";
import { type Check, fail, ok, warn } from "./check.ts";
import { dial } from "./dial.ts";

/** Connects and says nothing. `endpoint` undefined: the coordinator would not tell. Never rejects. */
export async function checkFrames(
  endpoint: FrameEndpoint | undefined,
  clock: Clock,
): Promise<Check> {
  if (endpoint === undefined)
    return warn(
      "frames",
      "not looked for: the coordinator tells where frames go only to a token it takes",
      "See to the token first",
    );
  const { host, port } = endpoint;
  const subject = `${host}:${port}`;
  const dialled = await dial(host, port, clock);
  if (dialled.at === "open")
    return ok("frames", `takes connections, within ${dialled.tookMs} ms`, { subject });
  return fail(
    "frames",
    dialled.reason,
    `Open TCP port ${port} from here to the coordinator (firewall, published ports, Service), or set advertise_frames there if the address is wrong`,
    { subject, data: { code: dialled.code } },
  );
}
