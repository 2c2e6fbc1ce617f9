/** Tries whether a port can be reached and believed, and names what is in the way. Says nothing there. Used by the doctor. (A9) */
import { lookup } from "node:dns/promises";
import { isIPv6 } from "node:net";
import type { Clock } from "@fleet/daemon";
import { within } from "./within.ts";

/** How a try went; `reason` is a phrase that follows the name of the host, `code` the system's word for it. */
export type Dialled =
  | { readonly at: "open"; readonly address: string; readonly tookMs: number }
  | { readonly at: "failed"; readonly code: string; readonly reason: string };

/** A name may have many addresses; these are tried, in order. */
const ADDRESSES_MAX = 4;
const LOOKUP_MS_MAX = 5000;
const CONNECT_MS_MAX = 3000;

/** Looks the name up and connects to its addresses until one takes us. Never rejects. */
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

/** The addresses, or the code of what kept them from being found. */
async function addressesOf(host: string, clock: Clock): Promise<readonly string[] | string> {
  try {
    const found = await within(clock, LOOKUP_MS_MAX, lookup(host, { all: true }));
    if (found === undefined) return "EAI_AGAIN";
    return found.slice(0, ADDRESSES_MAX).map(({ address }) => address);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  }
}

/** Undefined when it connects, else the code of what was in the way. */
async function connect(address: string, port: number, clock: Clock): Promise<string | undefined> {
  const attempt = Bun.connect({ hostname: address, port, socket: { data: () => {} } });
  try {
    const socket = await within(clock, CONNECT_MS_MAX, attempt);
    if (socket === undefined) {
      // Should it come after all, nobody wants it any more.
      void attempt.then((late) => late.terminate()).catch(() => {});
      return "ETIMEDOUT";
    }
    socket.terminate();
    return undefined;
  } catch {
    return nameFailure(address, port, clock);
  }
}

/** A socket's own error is always "refused"; fetch's tells more. It fails as the socket did, so that nothing is sent. */
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
 * Shakes hands in TLS as an uplink does, with `ca` as in AgentConfig, and says nothing more. Undefined when the peer is to be
 * believed, else the code of what was wrong. Never rejects.
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
  ENOTFOUND: "unknown host; no name server or hosts file has it",
  EAI_AGAIN: "no name server answers",
};

const CONNECT_TEXT: Readonly<Record<string, string>> = {
  ECONNREFUSED: "refuses the connection",
  ENETUNREACH: "can't be reached: no route to its network",
  EHOSTUNREACH: "can't be reached: no route to it",
  EADDRNOTAVAIL: "can't be reached: this machine has no address of that family",
  ETIMEDOUT: `does not answer within ${CONNECT_MS_MAX / 1000} s`,
  EACCES: "may not be connected to: forbidden by policy",
  EPERM: "may not be connected to: forbidden by policy",
};
