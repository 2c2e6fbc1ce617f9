/**
 * Authenticates requests that take no role: agents' own, registrations, downloads and whoami. Called by access.ts before the
 * handler runs. (R9, H5, H8)
 */
import {
  type Access,
  needsProtocolHeader,
  PROTOCOL_HEADER,
  PROTOCOL_VERSION,
  type Role,
  TOKEN_HEADER,
} from "@fleet/protocol";
import { readBody } from "@fleet/daemon";
import type { Context } from "hono";
import type { Auth } from "../../auth/auth.ts";
import type { AppEnv } from "../server.ts";
import { fail } from "./errors.ts";
import { refuseIfThrottled } from "./guard.ts";
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
  const bearer = bearerToken(c);
  switch (needed) {
    case "open":
      return undefined;
    case "any": {
      const identity = await auth.identify(bearer);
      if (identity === undefined) return fail(c, "unauthorized");
      c.set("bearer", identity);
      return undefined;
    }
    case "agent": {
      const claims = bearer === undefined ? undefined : await credentials.verifyAccess(bearer);
      if (claims === undefined) return fail(c, "unauthorized");
      c.set("claims", claims);
      return undefined;
    }
    case "registration":
    case "enrolment": {
      const own =
        needed === "registration" && bearer !== undefined
          ? await credentials.verifyRefresh(bearer)
          : undefined;
      const token = tokens.find("enroll", bearer);
      if (own === undefined && token === undefined) return fail(c, "unauthorized");
      if (own !== undefined) c.set("refresh", own);
      if (token !== undefined) c.set("token", token);
      return undefined;
    }
    case "download":
      return authenticateDownload(auth, c);
  }
}

/** A body longer than this is not a token; the rest of it is not read. */
const TOKEN_BODY_BYTES_MAX = 8192;

/** The body as a token; empty if it is too long for one. */
async function tokenIn(request: Request): Promise<string> {
  const body = await readBody(request, TOKEN_BODY_BYTES_MAX);
  return body === undefined ? "" : body.toString("utf8").trim();
}

/** The enrolment token of a download is in a header, or in the body of a POST. */
async function authenticateDownload(auth: Auth, c: Context<AppEnv>): Promise<Response | undefined> {
  const posted = c.req.method === "POST" ? await tokenIn(c.req.raw) : undefined;
  if (posted !== undefined) c.set("tokenInBody", posted);
  const limited = refuseIfThrottled(auth, c, posted);
  if (limited !== undefined) return limited;
  const isAgent = auth.tokens.find("enroll", c.req.header(TOKEN_HEADER) ?? posted) !== undefined;
  const isOperator = auth.tokens.find("operator", bearerToken(c)) !== undefined;
  if (isAgent || isOperator) return undefined;
  return fail(c, "unauthorized", `an enrolment token is required in ${TOKEN_HEADER}`);
}

function protocolProblem(c: Context<AppEnv>): string | undefined {
  const sent = c.req.header(PROTOCOL_HEADER);
  if (sent === String(PROTOCOL_VERSION)) return undefined;
  const found = sent === undefined ? "is missing" : `says ${JSON.stringify(sent.slice(0, 32))}`;
  return `${PROTOCOL_HEADER} ${found}; this coordinator speaks version ${PROTOCOL_VERSION}`;
}
