/**
 * Which addresses the coordinator may ask for an agent's health. Anybody with an enrolment token chooses the URL, so
 * addresses that lead to the machine itself, to its neighbours on the link or to a cloud's metadata service are refused,
 * judged on the address that is connected to and not on the name. (H12)
 */
import { BlockList, isIP, isIPv4, isIPv6 } from "node:net";

/** Never an agent's address: "this" network, link-local with the metadata services, multicast, reserved, unspecified. */
const NEVER: readonly string[] = [
  "0.0.0.0/8",
  "169.254.0.0/16",
  "192.0.0.192/32",
  "100.100.100.200/32",
  "224.0.0.0/3",
  "::/128",
  "fe80::/10",
  "fd00:ec2::254/128",
  "ff00::/8",
];
const LOOPBACK: readonly string[] = ["127.0.0.0/8", "::1/128"];
/** IPv4 addresses inside IPv6 ones: mapped, and translated by NAT64 (RFC 6052). */
const EMBEDDED_IPV4 = /^(?:::ffff:|64:ff9b::)((?:\d+\.){3}\d+|[\da-f]{1,4}:[\da-f]{1,4})$/i;

/** Decides by address. Refuses the networks that are never allowed and those that the config denies. */
export class AddressPolicy {
  readonly #never: BlockList;
  readonly #loopback = listOf(LOOPBACK);

  /** `denied` are networks in CIDR form, checked by `isCidr`. */
  constructor(denied: readonly string[] = []) {
    this.#never = listOf([...NEVER, ...denied]);
  }

  /** Whether an agent at `address` may be asked. Loopback only if the agent itself registered from a loopback address. */
  allows(address: string, isLocal: boolean): boolean {
    const plain = embeddedIpv4(address) ?? address;
    const family = familyOf(plain);
    if (family === undefined || this.#never.check(plain, family)) return false;
    return isLocal || !this.isLoopback(plain);
  }

  /** Why an agent that registers from `peer` cannot have this URL; undefined if it can. Names are judged when they are resolved. */
  problemOf(url: string, peer: string | null): string | undefined {
    const { hostname } = new URL(url);
    const address = hostname.replace(/^\[|\]$/g, "");
    const isPeerLocal = peer !== null && this.isLoopback(peer);
    if (this.isLocalName(hostname) && !isPeerLocal)
      return "agent_url: a loopback address is accepted only from an agent on the coordinator's own host";
    if (isIP(address) === 0 || this.allows(address, isPeerLocal)) return undefined;
    return `agent_url: ${address} is link-local, reserved, or in registry.agent_url_deny`;
  }

  /** Whether a URL's host means this machine without being resolved. */
  isLocalName(hostname: string): boolean {
    return hostname === "localhost" || this.isLoopback(hostname.replace(/^\[|\]$/g, ""));
  }

  isLoopback(address: string): boolean {
    const plain = embeddedIpv4(address) ?? address;
    const family = familyOf(plain);
    return family !== undefined && this.#loopback.check(plain, family);
  }
}

/** Whether `text` is a network such as `10.0.0.0/8` or `fd00::/8`. */
export function isCidr(text: string): boolean {
  const [address, bits, ...rest] = text.split("/");
  if (address === undefined || bits === undefined || rest.length > 0) return false;
  if (isIP(address) === 0 || !/^\d{1,3}$/.test(bits)) return false;
  return Number(bits) <= (isIPv4(address) ? 32 : 128);
}

function listOf(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address, bits] = network.split("/");
    list.addSubnet(address!, Number(bits), isIPv4(address!) ? "ipv4" : "ipv6");
  }
  return list;
}

function familyOf(address: string): "ipv4" | "ipv6" | undefined {
  if (isIPv4(address)) return "ipv4";
  return isIPv6(address) ? "ipv6" : undefined;
}

function embeddedIpv4(address: string): string | undefined {
  const text = EMBEDDED_IPV4.exec(address)?.[1];
  if (text === undefined || text.includes(".")) return text;
  const [high, low] = text.split(":").map((part) => Number.parseInt(part, 16));
  return [high! >> 8, high! & 255, low! >> 8, low! & 255].join(".");
}
