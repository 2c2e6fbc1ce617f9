/** Whether the coordinator can be reached: name, connection, TLS, and a Fleet coordinator that answers there. (A9) */
import type { ApiClient, Reply } from "@fleet/api-client";
import type { Clock } from "@fleet/daemon";
import { type ResponseOf, serviceApi } from "@fleet/protocol";
import { certificateProblem } from "../registration/certificate-problem.ts";
import type { Environment } from "../process/image-env.ts";
import { type Check, fail, ok } from "./check.ts";
import { dial, type Dialled } from "./dial.ts";

/** What the check goes by. */
export interface CoordinatorCheckOptions {
  readonly url: string;
  readonly client: Pick<ApiClient, "attempt">;
  /** The image's variables; for those that name a proxy. */
  readonly env: Environment;
  readonly clock: Clock;
}

/** What the check found; `health` is there when a coordinator answered. */
export interface CoordinatorFound {
  readonly check: Check;
  readonly health: CoordinatorHealth | undefined;
}

/** The coordinator's first answer. Its own time is to the second. */
export interface CoordinatorHealth {
  readonly sentMs: number;
  readonly tookMs: number;
  readonly serverDateMs: number | undefined;
}

/** The longest the coordinator may take to say that it is well. */
export const ANSWER_MS_MAX = 5000;
const PROXY = /^(https?|all)_proxy$/i;
type HealthReply = Reply<ResponseOf<typeof serviceApi.health>>;

/** Asks `/healthz`, which needs no token and changes nothing. Never rejects. */
export async function checkCoordinator(
  options: CoordinatorCheckOptions,
): Promise<CoordinatorFound> {
  const { url, client, clock } = options;
  const { hostname, port, protocol } = new URL(url);
  const isTls = protocol === "https:";
  const portNumber = port === "" ? (isTls ? 443 : 80) : Number(port);
  const dialled = await dial(hostname.replace(/^\[|\]$/g, ""), portNumber, clock);
  if (dialled.at === "failed") return { check: unreachable(options, dialled), health: undefined };
  const sentMs = clock.nowMs();
  const startMs = clock.monotonicMs();
  const reply = await client.attempt(serviceApi.health, {}, { timeoutMs: ANSWER_MS_MAX });
  const tookMs = clock.monotonicMs() - startMs;
  if (reply.at !== "ok") return { check: notACoordinator(url, reply), health: undefined };
  const { version } = reply.body;
  const { address } = dialled;
  const roundedMs = Math.round(tookMs);
  const check = ok("coordinator", `version ${version} at ${address} answers in ${roundedMs} ms`, {
    subject: url,
    data: { version, address, connect_ms: dialled.tookMs, answer_ms: roundedMs },
  });
  return { check, health: { sentMs, tookMs, serverDateMs: reply.serverDateMs } };
}

function unreachable(
  { url, env }: CoordinatorCheckOptions,
  { code, reason }: Dialled & { readonly at: "failed" },
): Check {
  const proxies = Object.keys(env).filter((name) => PROXY.test(name) && env[name] !== "");
  const unused = proxies.length === 0 ? "" : `; ${proxies.join(", ")} of this image is not used`;
  const remedy = REMEDIES[code] ?? "See what is between here and there";
  return fail("coordinator", `${reason}${unused}`, remedy, {
    subject: url,
    data: { code, ...(proxies.length === 0 ? {} : { ignored_proxy_variables: proxies }) },
  });
}

const CORRECT_URL = "coordinator.url (FLEET_COORDINATOR_URL, --coordinator)";
const NO_ROUTE =
  "See the routes and network of this container (ip route), and firewalls on the way; the agent connects directly";
const REMEDIES: Readonly<Record<string, string>> = {
  ENOTFOUND: `Correct the host in ${CORRECT_URL}, or the name server in /etc/resolv.conf`,
  EAI_AGAIN: "Correct the name server in /etc/resolv.conf, or let this container reach it",
  ECONNREFUSED: `Start the coordinator there, or correct the port in ${CORRECT_URL}`,
  ENETUNREACH: NO_ROUTE,
  EHOSTUNREACH: NO_ROUTE,
  ETIMEDOUT: NO_ROUTE,
  EACCES: "Let this container connect to it (network policy, seccomp)",
  EPERM: "Let this container connect to it (network policy, seccomp)",
};

/** Something takes connections there; it does not answer as it should. */
function notACoordinator(url: string, reply: Exclude<HealthReply, { readonly at: "ok" }>): Check {
  const details = { subject: url };
  const correct = `Correct ${CORRECT_URL}: the coordinator's HTTP port is 7700 unless told otherwise`;
  if (reply.at === "malformed")
    return fail("coordinator", "something answers, but is no Fleet coordinator", correct, details);
  if (reply.at === "refused") return refusing(reply, details, correct);
  const { reason } = reply;
  const problem = certificateProblem(reason);
  if (problem !== undefined)
    return fail("coordinator", `its certificate ${problem.found}`, problem.remedy, details);
  if (reason === "EPROTO")
    return fail("coordinator", "does not speak TLS", "Write http:// instead of https://", details);
  if (reason === "ECONNRESET")
    return fail(
      "coordinator",
      "takes the connection and ends it: not HTTP",
      `${correct}; write https:// if it speaks TLS`,
      details,
    );
  return fail(
    "coordinator",
    `takes the connection, then ${reason}`,
    `See the coordinator's log. ${correct}`,
    details,
  );
}

function refusing(
  { status, code }: Extract<HealthReply, { readonly at: "refused" }>,
  details: { readonly subject: string },
  correct: string,
): Check {
  if (status >= 300 && status < 400)
    return fail(
      "coordinator",
      `answers ${status}, a redirect, which the agent does not follow`,
      `Write the address it leads to in ${CORRECT_URL}`,
      details,
    );
  if (status === 407)
    return fail("coordinator", "a proxy answers, and wants credentials", correct, details);
  if ([502, 503, 504].includes(status))
    return fail(
      "coordinator",
      `answers ${status}: something in front of the coordinator can't reach it`,
      "Start the coordinator, or mend the proxy in front of it",
      details,
    );
  return fail(
    "coordinator",
    `answers ${status} ${code}: no Fleet coordinator, or not under this path`,
    correct,
    details,
  );
}
