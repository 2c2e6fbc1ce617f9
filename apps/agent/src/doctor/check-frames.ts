/** Checks that the frame port named by the coordinator can be reached, and with TLS that its certificate is trusted. (A9) */
import type { Clock } from "@fleet/daemon";
import type { FrameEndpoint } from "@fleet/protocol";
import { certificateProblem } from "../registration/certificate-problem.ts";
import { type Check, fail, ok, warn } from "./check.ts";
import { dial, shakeHands } from "./dial.ts";

/** Connects without sending anything. `endpoint` is undefined if the coordinator did not name it. `ca` as in AgentConfig. Never rejects. */
export async function checkFrames(
  endpoint: FrameEndpoint | undefined,
  ca: string | undefined,
  clock: Clock,
): Promise<Check> {
  if (endpoint === undefined)
    return warn(
      "frames",
      "not checked: the coordinator only names its frame port to an accepted token",
      "Fix the token first",
    );
  const { host, port, tls } = endpoint;
  const subject = `${host}:${port}`;
  const dialled = await dial(host, port, clock);
  if (dialled.at === "failed")
    return fail(
      "frames",
      dialled.reason,
      `Allow connections to TCP port ${port} of the coordinator (firewall, published ports, Service), or set advertise_frames there if the address is wrong`,
      { subject, data: { code: dialled.code } },
    );
  const code = tls ? await shakeHands(host, port, ca, clock) : undefined;
  if (code !== undefined) return untrusted(code, subject);
  const how = tls ? "TLS connections" : "connections";
  return ok("frames", `accepts ${how}, within ${dialled.tookMs} ms`, { subject });
}

function untrusted(code: string, subject: string): Check {
  const details = { subject, data: { code } };
  const problem = certificateProblem(code);
  if (problem !== undefined)
    return fail("frames", `its certificate ${problem.found}`, problem.remedy, details);
  return fail(
    "frames",
    code === "EPROTO" ? "does not speak TLS" : `TLS fails: ${code}`,
    "Check tcp_server.tls and advertise_frames of the coordinator, and proxies on the way",
    details,
  );
}
