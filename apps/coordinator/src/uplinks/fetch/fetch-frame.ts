/** Fetches the latest frame from a server: a GET whose response body is one JSON object, the frame. Fetcher uses it. (T7) */
import { readBody } from "@fleet/daemon";
import {
  encodeFrame,
  type EncodedFrame,
  type FrameProblem,
  LINE_BYTES_MAX,
  parseObject,
} from "@fleet/protocol";

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
export async function fetchFrame(target: FetchTarget, signal: AbortSignal): Promise<Fetched> {
  try {
    const response = await fetch(target.href, {
      headers: {
        accept: "application/json",
        // A body that is not decompressed cannot grow beyond what was read of it.
        "accept-encoding": "identity",
        ...(target.authorization === undefined ? {} : { authorization: target.authorization }),
      },
      redirect: "manual",
      decompress: false,
      ...(target.ca === undefined ? {} : { tls: { ca: target.ca } }),
      signal,
    });
    const problem = problemOf(response);
    if (problem !== undefined) {
      await response.body?.cancel();
      return problem;
    }
    const body = await readBody(response, LINE_BYTES_MAX);
    return body === undefined ? { at: "refused", problem: "too_long" } : frameOf(body);
  } catch (error) {
    const { code, message } = error as { readonly code?: unknown; readonly message?: unknown };
    // The message may repeat the URL, which may hold a key.
    const detail = typeof code === "string" ? code : String(message).slice(0, 40);
    return { at: "refused", problem: "unreachable", detail };
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
