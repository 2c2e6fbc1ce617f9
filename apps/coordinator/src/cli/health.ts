/**
 * `fleet-coordinator health`: asks the coordinator with these settings whether it is healthy. Containers run it every few
 * seconds beside the coordinator, so it loads almost nothing and takes at most 3 s. (H1)
 */
import { writeSync } from "node:fs";
import { parseArgs } from "node:util";
import { ConfigError } from "@fleet/daemon/config-error";
import { readConfigFile } from "../config/file.ts";
import { type HostPort, parseHostPort } from "@fleet/daemon/units";

const TIMEOUT_MS = 3000;
const DEFAULT: HostPort = { host: "0.0.0.0", port: 7700 };
/** The loopback address of each wildcard address. */
const LOOPBACK_OF: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "::1" };

/** The flags of `health`. `config` and `http` are those of `serve`; `url` overrides both. */
export interface HealthFlags {
  readonly config?: string | undefined;
  readonly http?: HostPort | undefined;
  readonly url?: string | undefined;
}

/** The flags of a valid `health …`; undefined for anything else, which the full command line handles. */
export function quickHealthFlags(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): HealthFlags | undefined {
  if (args[0] !== "health") return undefined;
  const string = { type: "string" } as const;
  try {
    const { values } = parseArgs({
      args: args.slice(1),
      options: { config: string, http: string, url: string },
    });
    const http = values.http === undefined ? undefined : parseHostPort(values.http);
    if (values.http !== undefined && http === undefined) return undefined;
    return { config: values.config ?? env["FLEET_COORDINATOR_CONFIG"], http, url: values.url };
  } catch {
    return undefined;
  }
}

/** Prints `ok`, or one line with the reason, and returns the exit code. Takes at most 3 s. */
export async function health(flags: HealthFlags): Promise<0 | 1> {
  const url = urlOf(flags);
  // The coordinator's certificate is not for the loopback address, and the request holds no secret.
  const verified = flags.url !== undefined;
  const problem = typeof url === "string" ? url : await problemAt(url, verified);
  if (problem === undefined) writeSync(1, "ok\n");
  else writeSync(2, `fleet-coordinator: ${problem.replaceAll(/\s+/g, " ")}\n`);
  return problem === undefined ? 0 : 1;
}

/** The URL to ask, or why there is none. */
function urlOf({ config, http, url }: HealthFlags): URL | string {
  if (url !== undefined)
    return URL.parse("/healthz", url) ?? `--url ${url} is not a URL such as http://hub:7700`;
  try {
    const settings = config ? configured(config) : { ...DEFAULT, tls: false };
    const { host, port } = http ?? settings;
    if (port === 0) return "port 0 stands for any free port; pass the address in use with --url";
    const scheme = settings.tls ? "https" : "http";
    const target = LOOPBACK_OF[host] ?? host;
    return new URL(`${scheme}://${target.includes(":") ? `[${target}]` : target}:${port}/healthz`);
  } catch (error) {
    if (error instanceof ConfigError || error instanceof TypeError) return error.message;
    throw error;
  }
}

/** The address in a configuration file. `serve` has already checked the rest of the file. */
function configured(path: string): HostPort & { readonly tls: boolean } {
  const { http } = readConfigFile(path) as {
    http?: { host?: unknown; port?: unknown; tls?: unknown } | null;
  };
  const { host = DEFAULT.host, port = DEFAULT.port, tls } = http ?? {};
  if (typeof host !== "string" || typeof port !== "number")
    throw new ConfigError(path, ["http.host or http.port is not valid"]);
  return { host, port, tls: tls != null };
}

async function problemAt(url: URL, verified: boolean): Promise<string | undefined> {
  try {
    const response = await fetch(url, {
      redirect: "manual",
      tls: { rejectUnauthorized: verified },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    if (!response.ok) return `${url.href} responds with status ${response.status}`;
    const body = (await response.json()) as { status?: unknown } | null;
    return body?.status === "ok" ? undefined : `${url.href} is not a coordinator`;
  } catch (error) {
    return `${url.href} ${reasonOf(error as Error)}`;
  }
}

function reasonOf({ name, message, code }: Error & { readonly code?: unknown }): string {
  if (name === "TimeoutError") return `does not respond within ${TIMEOUT_MS} ms`;
  if (code === "ECONNREFUSED" || code === "ConnectionRefused") return "refuses the connection";
  return `does not respond properly: ${message}`;
}
