/**
 * `GET /install.sh`: the script that downloads an agent from the address that it was requested at. It contains no secret.
 * (H8)
 */
import { downloadsApi } from "@fleet/protocol";
import { handle, type Route } from "../route.ts";
import script from "./install.sh" with { type: "text" };

const PLACE = "@COORDINATOR_URL@";
/** A name, an IPv4 or a bracketed IPv6 address, and a port: no character that has a meaning to a shell. */
const HOST =
  /^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?$/;
const SCHEMES = ["http", "https"];

/** The route. Without a valid Host header the script requires FLEET_COORDINATOR_URL. */
export function installScriptRoute(): Route {
  return handle(downloadsApi.installScript, (c) => {
    const host = c.req.header("Host") ?? "";
    // A proxy that terminates TLS sets it.
    const forwarded = c.req.header("X-Forwarded-Proto") ?? "";
    const own = c.req.url.startsWith("https:") ? "https" : "http";
    const scheme = SCHEMES.includes(forwarded) ? forwarded : own;
    const url = HOST.test(host) ? `${scheme}://${host}` : "";
    return c.body(script.replace(PLACE, url), 200, {
      "Content-Type": "text/x-shellscript; charset=utf-8",
    });
  });
}
