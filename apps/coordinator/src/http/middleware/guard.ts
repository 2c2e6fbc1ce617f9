/** Throttles addresses that send wrong tokens. Runs before any token is looked up. (H5) */
import { TOKEN_HEADER } from "@fleet/protocol";
import type { Context, MiddlewareHandler } from "hono";
import type { Auth } from "../../auth/auth.ts";
import { bearerToken } from "./input.ts";
import { fail } from "./errors.ts";
import type { AppEnv } from "../server.ts";

/**
 * Rejects requests from throttled addresses, and counts a failure for each 401 whose token was not issued here. A token that
 * nobody was given is counted in the same turn in which it is checked, so that requests in parallel do not get more guesses.
 */
export function guard(auth: Auth): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    // Read now, because the connection may be closed by the time the response is ready.
    const address = c.env.peer();
    const counted = new Set<string>();
    for (const token of tokensOf(c)) {
      const limited = refuseIfThrottled(auth, c, token);
      if (limited !== undefined) return limited;
      if (address === null || auth.isKnown(token)) continue;
      auth.addFailure(address, "http");
      counted.add(token);
    }
    await next();
    if (c.res.status !== 401 || address === null) return undefined;
    for (const token of tokensOf(c)) {
      if (auth.credentials.isIssuedHere(token)) continue;
      const waitMs = counted.has(token)
        ? auth.throttledMs(address)
        : auth.addFailure(address, "http");
      if (waitMs !== undefined) c.res = tooMany(c, waitMs);
    }
    return undefined;
  };
}

/** All tokens of a request, so that one cannot hide another. A token in the body is known once the body has been read. */
function tokensOf(c: Context<AppEnv>): string[] {
  const tokens = [bearerToken(c), c.req.header(TOKEN_HEADER), c.get("tokenInBody")];
  return tokens.filter((token) => token !== undefined);
}

/** The error response while the client is throttled; undefined when the token may be looked up. */
export function refuseIfThrottled(
  auth: Auth,
  c: Context<AppEnv>,
  token: string | undefined,
): Response | undefined {
  const address = c.env.peer();
  if (token === undefined || address === null) return undefined;
  const waitMs = auth.waitMs(address, token, "http");
  return waitMs === undefined ? undefined : tooMany(c, waitMs);
}

function tooMany(c: Context<AppEnv>, waitMs: number): Response {
  c.header("Retry-After", String(Math.ceil(waitMs / 1000)));
  return fail(c, "too_many_failures");
}
