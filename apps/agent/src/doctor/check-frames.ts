/** Whether the port that takes frames can be reached, and believed if it speaks TLS, where the coordinator says it is. (A9) */
import type { Clock } from "@fleet/daemon";
import type { FrameEndpoint } from "@fleet/protocol";
import { certificateProblem } from "../registration/certificate-problem.ts";
import { type Check, fail, ok, warn } from "./check.ts";
import { dial, shakeHands } from "./dial.ts";

/** Connects and says nothing. `endpoint` undefined: the coordinator would not tell. `ca` as in AgentConfig. Never rejects. */
export async function checkFrames(
  endpoint: FrameEndpoint | undefined,
  ca: string | undefined,
  clock: Clock,
): Promise<Check> {
  if (endpoint === undefined)
    return warn(
      "frames",
      "not looked for: the coordinator tells where frames go only to a token it takes",
      "See to the token first",
    );
  const { host, port, tls } = endpoint;
  const subject = `${host}:${port}`;
  const dialled = await dial(host, port, clock);
  if (dialled.at === "failed")
    return fail(
      "frames",
      dialled.reason,
      `Open TCP port ${port} from here to the coordinator (firewall, published ports, Service), or set advertise_frames there if the address is wrong`,
      { subject, data: { code: dialled.code } },
    );
  const code = tls ? await shakeHands(host, port, ca, clock) : undefined;
  if (code !== undefined) return unbelieved(code, subject);
  const how = tls ? "TLS connections" : "connections";
  return ok("frames", `takes ${how}, within ${dialled.tookMs} ms`, { subject });
}

function unbelieved(code: string, subject: string): Check {
  const details = { subject, data: { code } };
  const problem = certificateProblem(code);
  if (problem !== undefined)
    return fail("frames", `its certificate ${problem.found}`, problem.remedy, details);
  return fail(
    "frames",
    code === "EPROTO" ? "does not speak TLS" : `TLS fails: ${code}`,
    "See tcp_server.tls and advertise_frames of the coordinator, and what is between here and there",
    details,
  );
}
