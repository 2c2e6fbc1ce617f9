/** Fetches the latest frame from a server: a GET whose response body is one JSON object, the frame. Fetcher uses it. (T7) */
import { readBody } from "@fleet/daemon";
import {
  encodeFrame,
  type EncodedFrame,
  type FrameProblem,
  LINE_BYTES_MAX,
  parseObject,
} from "@fleet/protocol";
import { sendOut } from "../../net/outgoing.ts";
import type { Resolver } from "../../net/resolver.ts";

/** Why a fetch returns no frame. `unreachable`: no connection, or one that broke; `encoded`: compressed without a request for it. */
export type FetchProblem = "unreachable" | "redirected" | "bad_status" | "encoded" | FrameProblem;

/** The outcome of a fetch. `detail` is for the log. */
export type Fetched =
  | { readonly at: "frame"; readonly frame: EncodedFrame }
  | { readonly at: "refused"; readonly problem: FetchProblem; readonly detail?: string };

/** The URL, the `Authorization` header if any, and the CA certificates (PEM) to trust instead of the system's. */
export interface FetchTarget {
  readonly href: string;
  readonly authorization: string | undefined;
  readonly ca: string | undefined;
}

/**
 * Fetches once. Follows no redirect, because the config trusts no other host with frames or credentials, and reads at most
 * LINE_BYTES_MAX of the body. Never rejects: every failure, an aborted `signal` included, is an outcome.
 */
export async function fetchFrame(
  resolver: Resolver,
  target: FetchTarget,
  signal: AbortSignal,
): Promise<Fetched> {
  const { href, authorization, ca } = target;
  const sent = await sendOut(resolver, {
    url: new URL(href),
    purpose: "fetch",
    headers: {
      accept: "application/json",
      ...(authorization === undefined ? {} : { authorization }),
    },
    ca,
    signal,
  });
  if (sent.at === "unreachable")
    return { at: "refused", problem: "unreachable", detail: sent.detail };
  const { response } = sent;
  try {
    const problem = problemOf(response);
    const body = problem === undefined ? await readBody(response, LINE_BYTES_MAX) : undefined;
    if (body !== undefined) return frameOf(body);
    await response.body?.cancel();
    return problem ?? { at: "refused", problem: "too_long" };
  } catch (error) {
    const { code } = error as { readonly code?: unknown };
    return { at: "refused", problem: "unreachable", detail: typeof code === "string" ? code : "" };
  }
}

function problemOf({ status, headers }: Response): Fetched | undefined {
  const detail = `status ${status}`;
  if (status >= 300 && status < 400) return { at: "refused", problem: "redirected", detail };
  if (status !== 200) return { at: "refused", problem: "bad_status", detail };
  const encoding = headers.get("content-encoding") ?? "identity";
  return encoding === "identity" ? undefined : { at: "refused", problem: "encoded" };
}

/** The frame in a body. The object may span several lines, so it is encoded again as one line. */
function frameOf(body: Uint8Array): Fetched {
  const parsed = parseObject(body, 0, body.length);
  if (typeof parsed === "string") return { at: "refused", problem: parsed };
  const frame = encodeFrame(parsed);
  return typeof frame === "string" ? { at: "refused", problem: frame } : { at: "frame", frame };
}
