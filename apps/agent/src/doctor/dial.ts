/** Tries to connect to a port, with TLS if needed, and explains failures. It sends no data. Used by the doctor. (A9) */
import { lookup } from "node:dns/promises";
import { isIPv6 } from "node:net";
import type { Clock } from "@fleet/daemon";
import { within } from "./within.ts";

/** The result of an attempt. `reason` is for a person, `code` is the system's error code. */
export type Dialled =
  | { readonly at: "open"; readonly address: string; readonly tookMs: number }
  | { readonly at: "failed"; readonly code: string; readonly reason: string };

/** The most addresses of a name that are tried, in order. */
const ADDRESSES_MAX = 4;
const LOOKUP_MS_MAX = 5000;
const CONNECT_MS_MAX = 3000;

/** Resolves the name and tries its addresses until one accepts a connection. Never rejects. */
export async function dial(host: string, port: number, clock: Clock): Promise<Dialled> {
  const startMs = clock.monotonicMs();
  const found = await addressesOf(host, clock);
  if (typeof found === "string") return failed(found, `${host}: ${LOOKUP_TEXT[found] ?? found}`);
  let last = failed("ENOTFOUND", `${host} has no address`);
  for (const address of found) {
    const code = await connect(address, port, clock);
    if (code === undefined)
      return { at: "open", address, tookMs: Math.round(clock.monotonicMs() - startMs) };
    last = failed(code, `${where(host, address, port)} ${CONNECT_TEXT[code] ?? `fails: ${code}`}`);
  }
  return last;
}

/** The addresses, or the error code of the lookup. */
async function addressesOf(host: string, clock: Clock): Promise<readonly string[] | string> {
  try {
    const found = await within(clock, LOOKUP_MS_MAX, lookup(host, { all: true }));
    if (found === undefined) return "EAI_AGAIN";
    return found.slice(0, ADDRESSES_MAX).map(({ address }) => address);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}

/** Undefined if it connects, else the error code. */
async function connect(address: string, port: number, clock: Clock): Promise<string | undefined> {
  const attempt = Bun.connect({ hostname: address, port, socket: { data: () => {} } });
  try {
    const socket = await within(clock, CONNECT_MS_MAX, attempt);
    if (socket === undefined) {
      // Closes the connection if it still opens later.
      void attempt.then((late) => late.terminate()).catch(() => {});
      return "ETIMEDOUT";
    }
    socket.terminate();
    return undefined;
  } catch {
    return nameFailure(address, port, clock);
  }
}

/** Bun reports every socket error as refused, but fetch reports the real code. It fails like the socket, so it sends nothing. */
async function nameFailure(address: string, port: number, clock: Clock): Promise<string> {
  const host = isIPv6(address) ? `[${address}]` : address;
  const abort = new AbortController();
  const asked = fetch(`http://${host}:${port}/`, { method: "HEAD", signal: abort.signal }).then(
    () => "ECONNREFUSED",
    (error: unknown) => (error as NodeJS.ErrnoException).code ?? "ECONNREFUSED",
  );
  const code = await within(clock, CONNECT_MS_MAX, asked);
  abort.abort();
  return code ?? "ETIMEDOUT";
}

/**
 * Performs a TLS handshake as an uplink does, with `ca` as in AgentConfig. Undefined if the certificate is trusted, else the
 * error code. Never rejects.
 */
export async function shakeHands(
  host: string,
  port: number,
  ca: string | undefined,
  clock: Clock,
): Promise<string | undefined> {
  const shaken = Promise.withResolvers<string | undefined>();
  const attempt = Bun.connect({
    hostname: host,
    port,
    tls: ca === undefined ? true : { ca },
    socket: {
      data: () => {},
      handshake: (socket, isSecure, error) => {
        shaken.resolve(isSecure ? undefined : ((error as NodeJS.ErrnoException).code ?? "EPROTO"));
        socket.terminate();
      },
      close: () => shaken.resolve("ECONNRESET"),
    },
  });
  attempt.catch(() => shaken.resolve("ECONNREFUSED"));
  const code = await within(
    clock,
    CONNECT_MS_MAX,
    shaken.promise.then((found) => found ?? ""),
  );
  if (code === undefined) void attempt.then((late) => late.terminate()).catch(() => {});
  return code === "" ? undefined : (code ?? "ETIMEDOUT");
}

function failed(code: string, reason: string): Dialled & { at: "failed" } {
  return { at: "failed", code, reason };
}

function where(host: string, address: string, port: number): string {
  return host === address ? `${address} port ${port}` : `${host} (${address}) port ${port}`;
}

const LOOKUP_TEXT: Readonly<Record<string, string>> = {
  ENOTFOUND: "unknown host: neither a name server nor the hosts file has it",
  EAI_AGAIN: "no name server answers",
};

const CONNECT_TEXT: Readonly<Record<string, string>> = {
  ECONNREFUSED: "refuses the connection",
  ENETUNREACH: "can't be reached: no route to its network",
  EHOSTUNREACH: "can't be reached: no route to it",
  EADDRNOTAVAIL: "can't be reached: this machine has no address of that family",
  ETIMEDOUT: `does not answer within ${CONNECT_MS_MAX / 1000} s`,
  EACCES: "is forbidden by policy",
  EPERM: "is forbidden by policy",
};
