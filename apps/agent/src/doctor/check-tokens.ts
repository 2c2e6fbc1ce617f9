/** Checks which of the agent's tokens exist and which the coordinator accepts, without registering. (A9, H5) */
import { readFile, stat } from "node:fs/promises";
import type { ApiClient } from "@fleet/api-client";
import type { Clock } from "@fleet/daemon";
import { accessApi, PROTOCOL_VERSION, type TokenKind, type WhoamiResponse } from "@fleet/protocol";
import { isToken, type TokenSource } from "../config/enroll-tokens.ts";
import type { Environment } from "../process/image-env.ts";
import { type Check, fail, ok, warn } from "./check.ts";
import { ANSWER_MS_MAX } from "./check-coordinator.ts";

/** What the check needs. `client` is undefined if the coordinator does not answer. */
export interface TokenCheckOptions {
  readonly client: ApiClient | undefined;
  readonly sources: readonly TokenSource[];
  /** The token of the stored identity, if the agent would use that identity. */
  readonly refreshToken: string | undefined;
  readonly env: Environment;
  readonly clock: Clock;
}

/** An answer of `whoami`, with the time of the request and its duration. */
export interface Whoami {
  readonly answer: WhoamiResponse;
  readonly sentMs: number;
  readonly tookMs: number;
}

/** The checks, and the fastest answer. */
export interface TokensFound {
  readonly checks: readonly Check[];
  readonly whoami: Whoami | undefined;
}

/** A token that the agent would try. */
interface Candidate {
  readonly subject: string;
  readonly wanted: "refresh" | "enroll";
  readonly token: string;
}

type Verdict =
  | { readonly at: "accepted"; readonly whoami: Whoami }
  | { readonly at: "other_kind"; readonly whoami: Whoami }
  | { readonly at: "refused" }
  | { readonly at: "unknown"; readonly reason: string };

const TOKEN_FILE_BYTES_MAX = 64 * 1024;
const SET_TOKEN =
  "Set FLEET_ENROLL_TOKEN, FLEET_ENROLL_TOKEN_FILE or coordinator.enroll_token_file to the coordinator's FLEET_ENROLL_TOKEN";
const KIND_TEXT: Readonly<Record<TokenKind, string>> = {
  enroll: "an enrolment token",
  push: "a push token, for nodes without an agent",
  operator: "an operator token",
  access: "another agent's access token",
  refresh: "another agent's refresh token",
};

/** Tries the tokens in the order of the agent: the identity's, then the enrolment tokens. Never rejects. */
export async function checkTokens(options: TokenCheckOptions): Promise<TokensFound> {
  const { client, refreshToken, clock } = options;
  const read = await Promise.all(options.sources.map((source) => readSource(source, options.env)));
  const candidates: Candidate[] = read.filter((one) => "token" in one);
  if (refreshToken !== undefined)
    candidates.unshift({ subject: "identity.json", wanted: "refresh", token: refreshToken });
  const unreadable: Check[] = read.filter((one) => "status" in one);
  if (client === undefined)
    return { checks: [...untried(candidates), ...unreadable], whoami: undefined };
  if (candidates.length === 0) {
    const verdict = await ask(client, undefined, "enroll", clock);
    const whoami = verdict.at === "accepted" ? verdict.whoami : undefined;
    return { checks: [...unreadable, withoutToken(verdict)], whoami };
  }
  const verdicts: Verdict[] = [];
  // One after the other: from the second request on the connection is open, so that its duration bounds the clock error.
  for (const { token, wanted } of candidates)
    verdicts.push(await ask(client, token, wanted, clock));
  const checks = candidates.map((candidate, index) => judge(candidate, index, verdicts));
  const answers = verdicts.flatMap((verdict) => ("whoami" in verdict ? [verdict.whoami] : []));
  const [whoami] = answers.toSorted((a, b) => a.tookMs - b.tookMs);
  return { checks: [...checks, ...unreadable, ...protocolProblem(whoami)], whoami };
}

function untried(candidates: readonly Candidate[]): Check[] {
  if (candidates.length === 0) return [fail("token", "there is no token", SET_TOKEN)];
  return candidates.map(({ subject }) =>
    ok("token", "present; could not ask the coordinator whether it accepts it", { subject }),
  );
}

function withoutToken(verdict: Verdict): Check {
  if (verdict.at === "accepted")
    return ok("token", "there is no token, and the coordinator requires none (--insecure-dev)");
  return fail("token", "there is no token, and the coordinator requires one", SET_TOKEN);
}

function judge({ subject, wanted }: Candidate, index: number, verdicts: readonly Verdict[]): Check {
  const verdict = verdicts[index]!;
  const first = verdicts.findIndex(({ at }) => at === "accepted");
  const isLast = first < 0;
  const details = { subject, data: { wanted, verdict: verdict.at } };
  const complain = isLast ? fail : warn;
  switch (verdict.at) {
    case "accepted": {
      const use = index === first ? "the agent will use it" : "kept in reserve";
      return ok("token", `the coordinator accepts it; ${use}`, {
        subject,
        data: { ...details.data, used: index === first },
      });
    }
    case "other_kind":
      return complain("token", `is ${KIND_TEXT[verdict.whoami.answer.kind]}`, SET_TOKEN, details);
    case "unknown":
      return warn(
        "token",
        `could not be tried: ${verdict.reason}`,
        "Check the coordinator's log",
        details,
      );
    case "refused":
      if (wanted === "refresh")
        return complain(
          "token",
          "the coordinator does not accept this node's refresh token (any more)",
          isLast ? SET_TOKEN : "Nothing to do: the agent enrols again with the next token",
          details,
        );
      return complain(
        "token",
        "the coordinator does not accept it as an enrolment token",
        isLast ? SET_TOKEN : "Correct it, or remove it if it was rotated out",
        details,
      );
  }
}

async function ask(
  client: ApiClient,
  token: string | undefined,
  wanted: Candidate["wanted"],
  clock: Clock,
): Promise<Verdict> {
  const sentMs = clock.nowMs();
  const startMs = clock.monotonicMs();
  const reply = await client.attempt(accessApi.whoami, {}, { token, timeoutMs: ANSWER_MS_MAX });
  const tookMs = clock.monotonicMs() - startMs;
  if (reply.at === "unreachable") return { at: "unknown", reason: reply.reason };
  if (reply.at === "refused") {
    if (reply.status === 401) return { at: "refused" };
    const reason =
      reply.status === 404
        ? "this coordinator is too old to answer this check"
        : `it answers ${reply.status} ${reply.code}`;
    return { at: "unknown", reason };
  }
  if (reply.at === "malformed") return { at: "unknown", reason: "the answer has an unknown form" };
  const answer = reply.body;
  const whoami = { answer, sentMs, tookMs };
  return { at: answer.kind === wanted ? "accepted" : "other_kind", whoami };
}

function protocolProblem(whoami: Whoami | undefined): Check[] {
  if (whoami === undefined || whoami.answer.protocol === PROTOCOL_VERSION) return [];
  const { protocol, version } = whoami.answer;
  return [
    fail(
      "coordinator",
      `speaks protocol ${protocol} (version ${version}), this agent ${PROTOCOL_VERSION}`,
      "Update the older of the two",
    ),
  ];
}

/** The token, or a failed check if it can't be read. */
async function readSource(source: TokenSource, env: Environment): Promise<Candidate | Check> {
  if (source.at === "value") {
    const names = ["FLEET_ENROLL_TOKEN", "FLEET_ENROLL_TOKEN_PREVIOUS"];
    const subject = names.find((name) => env[name] === source.token) ?? "enrolment token";
    return { subject, wanted: "enroll", token: source.token };
  }
  const { path: subject } = source;
  const remedy = `Write only the token to it, readable by uid ${process.getuid?.() ?? -1}`;
  try {
    const stats = await stat(subject);
    // Reading a pipe would block, and would consume what is meant for the agent.
    if (!stats.isFile()) return fail("token", "is not a file", remedy, { subject });
    if (stats.size > TOKEN_FILE_BYTES_MAX)
      return fail("token", "is too long to be a token", remedy, { subject });
    const token = (await readFile(subject, "utf8")).trim();
    if (isToken(token)) return { subject, wanted: "enroll", token };
    return fail("token", token === "" ? "is empty" : "does not contain a token", remedy, {
      subject,
    });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return fail("token", `can't be read: ${code ?? String(error)}`, remedy, { subject });
  }
}
