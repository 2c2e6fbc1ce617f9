/**
 * Authenticates requests that take no role: agents' own, registrations, downloads and whoami. Called by access.ts before the handler runs.
 * (R9, H5, H8)
 */
import {
  type Access,
  needsProtocolHeader,
  PROTOCOL_HEADER,
  PROTOCOL_VERSION,
  type Role,
  TOKEN_HEADER,
} from "@fleet/protocol";
import type { Context } from "hono";
import type { Auth } from "../../auth/auth.ts";
import type { AppEnv } from "../server.ts";
import { fail } from "./errors.ts";
import { limit } from "./guard.ts";
import { bearerToken } from "./input.ts";

/** Stores what the token proves in the context's variables; a Response refuses the request. */
export async function authenticate(
  auth: Auth,
  c: Context<AppEnv>,
  needed: Exclude<Access, Role>,
): Promise<Response | undefined> {
  if (needsProtocolHeader(needed)) {
    const problem = protocolProblem(c);
    if (problem !== undefined) return fail(c, "bad_protocol", problem);
  }
  const { tokens, credentials } = auth;
  const shown = bearerToken(c);
  switch (needed) {
    case "open":
      return undefined;
    case "any": {
      const bearer = await auth.identify(shown);
      if (bearer === undefined) return fail(c, "unauthorized");
      c.set("bearer", bearer);
      return undefined;
    }
    case "agent": {
      const claims = shown === undefined ? undefined : await credentials.verifyAccess(shown);
      if (claims === undefined) return fail(c, "unauthorized");
      c.set("claims", claims);
      return undefined;
    }
    case "registration":
    case "enrolment": {
      const own =
        needed === "registration" && shown !== undefined
          ? await credentials.verifyRefresh(shown)
          : undefined;
      const token = tokens.find("enroll", shown);
      if (own === undefined && token === undefined) return fail(c, "unauthorized");
      if (own !== undefined) c.set("refresh", own);
      if (token !== undefined) c.set("token", token);
      return undefined;
    }
    case "download":
      return authenticateDownload(auth, c);
  }
}

/** The enrolment token of a download is in a header, or in the body of a POST. */
async function authenticateDownload(auth: Auth, c: Context<AppEnv>): Promise<Response | undefined> {
  const posted = c.req.method === "POST" ? (await c.req.text()).trim() : undefined;
  if (posted !== undefined) c.set("shownToken", posted);
  const limited = limit(auth, c, posted);
  if (limited !== undefined) return limited;
  const isAgent = auth.tokens.find("enroll", c.req.header(TOKEN_HEADER) ?? posted) !== undefined;
  const isOperator = auth.tokens.find("operator", bearerToken(c)) !== undefined;
  if (isAgent || isOperator) return undefined;
  return fail(c, "unauthorized", `the enrolment token is required, as ${TOKEN_HEADER}`);
}

function protocolProblem(c: Context<AppEnv>): string | undefined {
  const sent = c.req.header(PROTOCOL_HEADER);
  if (sent === String(PROTOCOL_VERSION)) return undefined;
  const found = sent === undefined ? "is missing" : `says ${JSON.stringify(sent.slice(0, 32))}`;
  return `${PROTOCOL_HEADER} ${found}; this coordinator speaks version ${PROTOCOL_VERSION}`;
}
