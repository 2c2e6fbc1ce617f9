/** Checks that the coordinator can be reached: name, connection, TLS, and that a Fleet coordinator answers. (A9) */
import type { ApiClient, Reply } from "@fleet/api-client";
import type { Clock } from "@fleet/daemon";
import { type ResponseOf, serviceApi } from "@fleet/protocol";
import { certificateProblem } from "../registration/certificate-problem.ts";
import type { Environment } from "../process/image-env.ts";
import { type Check, fail, ok } from "./check.ts";
import { dial, type Dialled } from "./dial.ts";

/** What the check needs. */
export interface CoordinatorCheckOptions {
  readonly url: string;
  readonly client: Pick<ApiClient, "attempt">;
  /** The image's variables, some of which may name a proxy. */
  readonly env: Environment;
  readonly clock: Clock;
}

/** The check; `health` is set if a coordinator answered. */
export interface CoordinatorFound {
  readonly check: Check;
  readonly health: CoordinatorHealth | undefined;
}

/** The coordinator's first answer. `serverDateMs` has a precision of one second. */
export interface CoordinatorHealth {
  readonly sentMs: number;
  readonly tookMs: number;
  readonly serverDateMs: number | undefined;
}

/** The most time that the coordinator may take to answer. */
export const ANSWER_MS_MAX = 5000;
const PROXY = /^(https?|all)_proxy$/i;
type HealthReply = Reply<ResponseOf<typeof serviceApi.health>>;

/** Requests `/healthz`, which needs no token and has no side effect. Never rejects. */
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
  const remedy = REMEDIES[code] ?? "Check the network between this machine and the coordinator";
  return fail("coordinator", `${reason}${unused}`, remedy, {
    subject: url,
    data: { code, ...(proxies.length === 0 ? {} : { ignored_proxy_variables: proxies }) },
  });
}

const CORRECT_URL = "coordinator.url (FLEET_COORDINATOR_URL, --coordinator)";
const NO_ROUTE =
  "Check the routes and network of this container (ip route), and firewalls on the way; the agent uses no proxy";
const REMEDIES: Readonly<Record<string, string>> = {
  ENOTFOUND: `Correct the host in ${CORRECT_URL}, or the name server in /etc/resolv.conf`,
  EAI_AGAIN: "Correct the name server in /etc/resolv.conf, or allow this container to reach it",
  ECONNREFUSED: `Start the coordinator there, or correct the port in ${CORRECT_URL}`,
  ENETUNREACH: NO_ROUTE,
  EHOSTUNREACH: NO_ROUTE,
  ETIMEDOUT: NO_ROUTE,
  EACCES: "Allow this container to connect to it (network policy, seccomp)",
  EPERM: "Allow this container to connect to it (network policy, seccomp)",
};

/** Something accepts connections there, but does not answer like a coordinator. */
function notACoordinator(url: string, reply: Exclude<HealthReply, { readonly at: "ok" }>): Check {
  const details = { subject: url };
  const correct = `Correct ${CORRECT_URL}: the default HTTP port of the coordinator is 7700`;
  if (reply.at === "malformed")
    return fail("coordinator", "something answers, but not a Fleet coordinator", correct, details);
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
      "accepts the connection and closes it: not HTTP",
      `${correct}; write https:// if it speaks TLS`,
      details,
    );
  return fail(
    "coordinator",
    `accepts the connection, then ${reason}`,
    `Check the coordinator's log. ${correct}`,
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
      `Set ${CORRECT_URL} to the address it redirects to`,
      details,
    );
  if (status === 407)
    return fail("coordinator", "a proxy answers and requires credentials", correct, details);
  if ([502, 503, 504].includes(status))
    return fail(
      "coordinator",
      `answers ${status}: a proxy in front of the coordinator can't reach it`,
      "Start the coordinator, or repair the proxy in front of it",
      details,
    );
  return fail(
    "coordinator",
    `answers ${status} ${code}: not a Fleet coordinator, or not under this path`,
    correct,
    details,
  );
}
