/** The admins' routes for tokens, the audit log and the key that signs agents' credentials. (H5) */
import type { Log } from "@fleet/daemon";
import { accessApi } from "@fleet/protocol";
import type { Auth } from "../../auth/auth.ts";
import { fail } from "../middleware/errors.ts";
import { handle, type Route } from "../route.ts";

/** The routes. */
export function tokenRoutes({ tokens, audit, credentials }: Auth, log: Log): readonly Route[] {
  return [
    handle(accessApi.listTokens, () => ({ tokens: [...tokens.list()] })),

    handle(accessApi.createToken, async (c, { body }) => {
      c.set("subject", body.name);
      // The admin's own token may have ended while the body arrived.
      const admin = c.get("token");
      if (!tokens.isValid(admin)) return fail(c, "unauthorized");
      const outcome = await tokens.create(body, admin.name);
      if (outcome.at === "created") return { token: outcome.view, secret: outcome.secret };
      return fail(c, outcome.at === "too_many" ? "too_many_tokens" : "token_exists");
    }),

    handle(accessApi.revokeToken, async (c, { params }) => {
      const outcome = await tokens.revoke(params.id);
      if (outcome === "unknown") return fail(c, "unknown_token");
      return outcome === "configured" ? fail(c, "token_configured") : undefined;
    }),

    handle(accessApi.audit, (_c, { query }) => audit.list(query.limit, query.cursor)),

    handle(accessApi.rotateKey, () => {
      credentials.rotateKey();
      log.warn({}, "rotated the key that signs agents' credentials");
      return undefined;
    }),
  ];
}
