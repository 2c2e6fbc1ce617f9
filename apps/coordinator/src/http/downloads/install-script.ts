/** `GET /install.sh`: the script that downloads an agent, with the address it was asked at filled in. It holds no secret. (H8) */
import type { Handler } from "hono";
import script from "./install.sh" with { type: "text" };

const PLACE = "@COORDINATOR_URL@";
/** A name, an IPv4 or a bracketed IPv6 address, and a port: nothing that means something to a shell. */
const HOST =
  /^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?$/;
const SCHEMES = ["http", "https"];

/** Answers with the script. Where the request's Host is none, the script asks for FLEET_COORDINATOR_URL. */
export const installScript: Handler = (c) => {
  const host = c.req.header("Host") ?? "";
  // Set by a proxy that ends TLS before us.
  const forwarded = c.req.header("X-Forwarded-Proto") ?? "";
  const own = c.req.url.startsWith("https:") ? "https" : "http";
  const scheme = SCHEMES.includes(forwarded) ? forwarded : own;
  const url = HOST.test(host) ? `${scheme}://${host}` : "";
  return c.body(script.replace(PLACE, url), 200, {
    "Content-Type": "text/x-shellscript; charset=utf-8",
    "Cache-Control": "no-store",
  });
};
