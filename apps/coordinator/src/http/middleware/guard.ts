/** Counts wrong tokens by the address they come from, and lets those wait who only try. (H5) */
import { TOKEN_HEADER } from "@fleet/protocol";
import type { Context, MiddlewareHandler } from "hono";
import type { Auth } from "../../auth/auth.ts";
import { bearerToken } from "./input.ts";
import { fail } from "./errors.ts";
import type { AppEnv } from "../server.ts";

/** Comes before whatever looks at tokens. Every 401 for a token that was never ours counts. */
export function guard(auth: Auth): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    for (const token of shownTokens(c)) {
      const limited = limit(auth, c, token);
      if (limited !== undefined) return limited;
    }
    // Asked now: when the answer is made the connection may have gone.
    const address = c.env.peer();
    await next();
    if (c.res.status !== 401 || address === null) return undefined;
    for (const token of shownTokens(c)) {
      if (await auth.credentials.isIssuedHere(token)) continue;
      const waitMs = auth.addFailure(address, "http");
      if (waitMs !== undefined) c.res = tooMany(c, waitMs);
    }
    return undefined;
  };
}

/** All of them: one must not hide another. What came as a body is known once it has been read. */
function shownTokens(c: Context<AppEnv>): string[] {
  const shown = [bearerToken(c), c.req.header(TOKEN_HEADER), c.get("shownToken")];
  return shown.filter((token) => token !== undefined);
}

/** The answer to a token that may not be looked at yet; undefined when it may. */
export function limit(
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
