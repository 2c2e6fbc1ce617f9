/** One question to a server that holds its latest frame: a GET whose answer is one JSON object, the frame. (T7) */
import {
  encodeFrame,
  type EncodedFrame,
  type FrameProblem,
  LINE_BYTES_MAX,
  parseObject,
} from "@fleet/protocol";

/** Why an answer gives no frame. `unreachable`: no connection, or one that broke; `encoded`: compressed though that was not asked for. */
export type FetchProblem = "unreachable" | "redirected" | "bad_status" | "encoded" | FrameProblem;

/** `bytes` is the frame as a tracker gets it, LF included. `detail` is for the log. */
export type Fetched =
  | { readonly at: "frame"; readonly frame: EncodedFrame }
  | { readonly at: "refused"; readonly problem: FetchProblem; readonly detail?: string };

/** What is asked for, the `Authorization` header where there is one, and the authorities to trust (PEM) when not the usual ones. */
export interface FetchTarget {
  readonly href: string;
  readonly authorization: string | undefined;
  readonly ca: string | undefined;
}

/**
 * Asks once. Follows no redirect, since another host is nobody the config trusts with frames or credentials; reads at most
 * LINE_BYTES_MAX of the answer. Whatever goes wrong, an aborted `signal` too, is an answer, not an error.
 */
export async function fetchFrame(target: FetchTarget, signal: AbortSignal): Promise<Fetched> {
  try {
    const response = await fetch(target.href, {
      headers: {
        accept: "application/json",
        // A body that is taken as it comes can't be larger than what was read of it.
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
    const body = await bodyOf(response);
    return body === undefined ? { at: "refused", problem: "too_long" } : frameOf(body);
  } catch (error) {
    const { code, message } = error as { readonly code?: unknown; readonly message?: unknown };
    // A message may repeat the URL, and with it a key.
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

/** Undefined when it is too long. */
async function bodyOf(response: Response): Promise<Uint8Array | undefined> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  const body: AsyncIterable<Uint8Array> | null = response.body;
  for await (const part of body ?? []) {
    bytes += part.length;
    if (bytes > LINE_BYTES_MAX) return undefined;
    parts.push(part);
  }
  return Buffer.concat(parts, bytes);
}

/** The object may stand on several lines, so it is written anew. Numbers keep their values, not their spelling. */
function frameOf(body: Uint8Array): Fetched {
  const parsed = parseObject(body, 0, body.length);
  if (typeof parsed === "string") return { at: "refused", problem: parsed };
  const frame = encodeFrame(parsed);
  return typeof frame === "string" ? { at: "refused", problem: frame } : { at: "frame", frame };
}
