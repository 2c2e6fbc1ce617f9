/** Which of the agent's tokens there are and which the coordinator takes, found out without registering. (A9, H5) */
import { readFile, stat } from "node:fs/promises";
import type { ApiClient } from "@fleet/api-client";
import type { Clock } from "@fleet/daemon";
import { accessApi, PROTOCOL_VERSION, type TokenKind, type WhoamiResponse } from "@fleet/protocol";
import { isToken, type TokenSource } from "../config/enroll-tokens.ts";
import type { Environment } from "../process/image-env.ts";
import { type Check, fail, ok, warn } from "./check.ts";
import { ANSWER_MS_MAX } from "./check-coordinator.ts";

/** What the check goes by. `client` undefined: the coordinator can't be asked. */
export interface TokenCheckOptions {
  readonly client: ApiClient | undefined;
  readonly sources: readonly TokenSource[];
  /** Of the stored identity, when that is the node that will run. */
  readonly refreshToken: string | undefined;
  readonly env: Environment;
  readonly clock: Clock;
}

/** An answer of `whoami`, with when it was asked for and how long it took. */
export interface Whoami {
  readonly answer: WhoamiResponse;
  readonly sentMs: number;
  readonly tookMs: number;
}

/** The checks, and the answer that took the least time. */
export interface TokensFound {
  readonly checks: readonly Check[];
  readonly whoami: Whoami | undefined;
}

/** A token the agent would try, in the order it would. */
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
  operator: "an operator's token",
  access: "another agent's access token",
  refresh: "another agent's refresh token",
};

/** Tries the tokens in the agent's own order: the identity's, then those that enrol. Never rejects. */
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
  // One after the other: from the second on the connection stands, which makes the time they take tell of the clock.
  for (const { token, wanted } of candidates)
    verdicts.push(await ask(client, token, wanted, clock));
  const checks = candidates.map((candidate, index) => judge(candidate, index, verdicts));
  const answers = verdicts.flatMap((verdict) => ("whoami" in verdict ? [verdict.whoami] : []));
  const [whoami] = answers.toSorted((a, b) => a.tookMs - b.tookMs);
  return { checks: [...checks, ...unreadable, ...protocolProblem(whoami)], whoami };
}

function untried(candidates: readonly Candidate[]): Check[] {
  if (candidates.length === 0) return [fail("token", "there is none", SET_TOKEN)];
  return candidates.map(({ subject }) =>
    ok("token", "there is one; whether the coordinator takes it can't be told", { subject }),
  );
}

function withoutToken(verdict: Verdict): Check {
  if (verdict.at === "accepted")
    return ok("token", "there is none, and the coordinator asks for none (--insecure-dev)");
  return fail("token", "there is none, and the coordinator lets nobody in without", SET_TOKEN);
}

function judge({ subject, wanted }: Candidate, index: number, verdicts: readonly Verdict[]): Check {
  const verdict = verdicts[index]!;
  const first = verdicts.findIndex(({ at }) => at === "accepted");
  const isLast = first < 0;
  const details = { subject, data: { wanted, verdict: verdict.at } };
  const complain = isLast ? fail : warn;
  switch (verdict.at) {
    case "accepted": {
      const use = index === first ? "this is the one that will be used" : "held in reserve";
      return ok("token", `the coordinator takes it; ${use}`, {
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
        "See the coordinator's log",
        details,
      );
    case "refused":
      if (wanted === "refresh")
        return complain(
          "token",
          "the coordinator does not take this node's refresh token (any more)",
          isLast ? SET_TOKEN : "Nothing to do: the agent enrols anew with the next token",
          details,
        );
      return complain(
        "token",
        "the coordinator does not take it as an enrolment token",
        isLast ? SET_TOKEN : "Correct it, or take it away if it was rotated out",
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
        ? "this coordinator is too old to be asked"
        : `it answers ${reply.status} ${reply.code}`;
    return { at: "unknown", reason };
  }
  if (reply.at === "malformed") return { at: "unknown", reason: "an answer of another form" };
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
      "Update whichever of the two is older",
    ),
  ];
}

/** The token, or what keeps it from being read. */
async function readSource(source: TokenSource, env: Environment): Promise<Candidate | Check> {
  if (source.at === "value") {
    const names = ["FLEET_ENROLL_TOKEN", "FLEET_ENROLL_TOKEN_PREVIOUS"];
    const subject = names.find((name) => env[name] === source.token) ?? "enrolment token";
    return { subject, wanted: "enroll", token: source.token };
  }
  const { path: subject } = source;
  const remedy = `Put the token there, alone, readable by uid ${process.getuid?.() ?? -1}`;
  try {
    const stats = await stat(subject);
    // Reading a pipe would wait for somebody to write, and take what was meant for the agent.
    if (!stats.isFile()) return fail("token", "is not a file", remedy, { subject });
    if (stats.size > TOKEN_FILE_BYTES_MAX)
      return fail("token", "is too long to be a token", remedy, { subject });
    const token = (await readFile(subject, "utf8")).trim();
    if (isToken(token)) return { subject, wanted: "enroll", token };
    return fail("token", token === "" ? "is empty" : "does not hold a token", remedy, { subject });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return fail("token", `can't be read: ${code ?? String(error)}`, remedy, { subject });
  }
}
