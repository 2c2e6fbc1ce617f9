/**
 * The coordinator's outgoing HTTP requests: a GET that follows no redirect and connects only to an address that the
 * coordinator's own resolver found and that the caller allows. Used by the health questions and by the fetchers. (H12)
 */
import { isIPv6 } from "node:net";
import type { Purpose, Resolver } from "./resolver.ts";

/** Addresses tried for one request, in the order the name server gave them. */
const ADDRESSES_MAX = 3;

/** One GET. */
export interface OutgoingRequest {
  readonly url: URL;
  readonly purpose: Purpose;
  readonly headers: Readonly<Record<string, string>>;
  /** Certificate authorities to trust instead of the public ones, PEM. */
  readonly ca?: string | undefined;
  readonly signal: AbortSignal;
  /** Whether to connect to an address; every address by default. Called for each request. */
  readonly isAllowed?: (address: string) => boolean;
}

/** A response whose body has not been read, or why there is none. `detail` is for the log: a code, never the URL. */
export type Outgoing =
  | { readonly at: "response"; readonly response: Response }
  | { readonly at: "unreachable"; readonly detail: string };

/** Sends the request to the first address that accepts the connection. Never rejects. */
export async function sendOut(resolver: Resolver, request: OutgoingRequest): Promise<Outgoing> {
  const { url, purpose, signal, isAllowed = () => true } = request;
  const resolved = await unlessAborted(resolver.resolve(bare(url.hostname), purpose), signal);
  if (resolved === undefined) return { at: "unreachable", detail: "aborted" };
  if (resolved.at === "unresolved")
    return { at: "unreachable", detail: `name ${resolved.problem.replace("_", " ")}` };
  const allowed = resolved.addresses.filter(isAllowed).slice(0, ADDRESSES_MAX);
  let detail = "address not allowed";
  for (const address of allowed) {
    try {
      return { at: "response", response: await send(request, address) };
    } catch (error) {
      if (signal.aborted) return { at: "unreachable", detail: "aborted" };
      const { code, message } = error as { readonly code?: unknown; readonly message?: unknown };
      // The message may repeat the URL, and with it a key.
      detail = typeof code === "string" ? code : String(message).slice(0, 40);
    }
  }
  return { at: "unreachable", detail };
}

async function send({ url, headers, ca, signal }: OutgoingRequest, address: string) {
  const target = new URL(url);
  target.hostname = isIPv6(address) ? `[${address}]` : address;
  const isTls = url.protocol === "https:";
  return fetch(target, {
    headers: { ...headers, host: url.host, "accept-encoding": "identity" },
    redirect: "manual",
    // A body that is not decompressed cannot grow beyond the bytes that were read.
    decompress: false,
    keepalive: false,
    ...(isTls
      ? { tls: { serverName: bare(url.hostname), ...(ca === undefined ? {} : { ca }) } }
      : {}),
    signal,
  });
}

/** A hostname without the brackets that a URL puts around an IPv6 address. */
function bare(hostname: string): string {
  return hostname.startsWith("[") ? hostname.slice(1, -1) : hostname;
}

/** The lookup itself cannot be cancelled; its caller can stop waiting for it. */
function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  if (signal.aborted) return Promise.resolve(undefined);
  return new Promise((resolve) => {
    const abort = (): void => resolve(undefined);
    signal.addEventListener("abort", abort, { once: true });
    void work.then((value) => {
      signal.removeEventListener("abort", abort);
      resolve(value);
    });
  });
}
