/**
 * `fleet-coordinator health`: asks the coordinator of these settings whether it is well. A container runs it every few
 * seconds beside the coordinator, so it loads next to nothing and gives up soon. (H1)
 */
import { writeSync } from "node:fs";
import { parseArgs } from "node:util";
import { ConfigError, readConfigFile } from "../config/file.ts";
import { type HostPort, parseHostPort } from "../config/host-port.ts";

const TIMEOUT_MS = 3000;
const DEFAULT: HostPort = { host: "0.0.0.0", port: 7700 };
/** Who listens everywhere is asked here. */
const ANYWHERE: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "::1" };

/** What `health` was told. `config` and `http` are those of `serve`; `url` overrides both. */
export interface HealthFlags {
  readonly config?: string | undefined;
  readonly http?: HostPort | undefined;
  readonly url?: string | undefined;
}

/** The flags of a plain `health …`; undefined when the full command line must look at it, for help or a complaint. */
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

/** Prints `ok`, or in one line why not, and gives the exit code, 0 or 1. Takes at most 3 s. */
export async function health(flags: HealthFlags): Promise<0 | 1> {
  const where = urlOf(flags);
  // Our own certificate is not for the address we ask at, and nothing secret is said.
  const verified = flags.url !== undefined;
  const problem = typeof where === "string" ? where : await problemAt(where, verified);
  if (problem === undefined) writeSync(1, "ok\n");
  else writeSync(2, `fleet-coordinator: ${problem.replaceAll(/\s+/g, " ")}\n`);
  return problem === undefined ? 0 : 1;
}

/** Where to ask, or why that can't be told. */
function urlOf({ config, http, url }: HealthFlags): URL | string {
  if (url !== undefined) return URL.parse("/healthz", url) ?? `--url ${url} is no URL`;
  try {
    const set = config ? configured(config) : { ...DEFAULT, tls: false };
    const { host, port } = http ?? set;
    const scheme = set.tls ? "https" : "http";
    if (port === 0) return "port 0 is any port; --url tells which";
    const asked = ANYWHERE[host] ?? host;
    return new URL(`${scheme}://${asked.includes(":") ? `[${asked}]` : asked}:${port}/healthz`);
  } catch (error) {
    if (error instanceof ConfigError || error instanceof TypeError) return error.message;
    throw error;
  }
}

/** Reads nothing but the address: whether the rest of the file is right, `serve` has said. */
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
    if (!response.ok) return `${url.href} answers ${response.status}`;
    const body = (await response.json()) as { status?: unknown } | null;
    return body?.status === "ok" ? undefined : `${url.href} is no coordinator`;
  } catch (error) {
    return `${url.href} ${reasonOf(error as Error)}`;
  }
}

function reasonOf({ name, message, code }: Error & { readonly code?: unknown }): string {
  if (name === "TimeoutError") return `does not answer in ${TIMEOUT_MS} ms`;
  if (code === "ECONNREFUSED" || code === "ConnectionRefused") return "refuses the connection";
  return `gives no answer: ${message}`;
}
