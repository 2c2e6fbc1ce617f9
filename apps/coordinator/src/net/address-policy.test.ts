import { describe, expect, test } from "bun:test";
import { AddressPolicy, isCidr } from "./address-policy.ts";

describe("an agent's address", () => {
  const policy = new AddressPolicy();

  test.each([
    "169.254.169.254",
    "169.254.0.1",
    "fe80::1",
    "fd00:ec2::254",
    "100.100.100.200",
    "0.0.0.0",
    "::",
    "224.0.0.1",
    "255.255.255.255",
    "ff02::1",
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    "64:ff9b::a9fe:a9fe",
    "not an address",
    "",
  ])("is never %s", (address) => {
    expect(policy.allows(address, true)).toBe(false);
  });

  test.each(["127.0.0.1", "127.9.8.7", "::1", "::ffff:127.0.0.1"])(
    "is %s only for an agent that registered from loopback",
    (address) => {
      expect(policy.allows(address, true)).toBe(true);
      expect(policy.allows(address, false)).toBe(false);
    },
  );

  test.each([
    "10.0.0.7",
    "192.168.1.2",
    "172.16.0.1",
    "100.64.0.1",
    "203.0.113.9",
    "fd12::1",
    "2001:db8::1",
  ])("may be %s", (address) => {
    expect(policy.allows(address, false)).toBe(true);
  });

  test("is refused within a network that the config denies, in IPv6's form too", () => {
    const strict = new AddressPolicy(["10.0.0.0/8", "fd00::/8"]);
    for (const address of ["10.255.255.255", "::ffff:10.1.2.3", "fd12::1"])
      expect(strict.allows(address, false)).toBe(false);
    for (const address of ["11.0.0.0", "192.168.0.1", "fc00::1"])
      expect(strict.allows(address, false)).toBe(true);
  });
});

describe("the URL an agent registers", () => {
  const policy = new AddressPolicy(["10.0.0.0/8"]);

  test("may be on loopback only for an agent that registers from there", () => {
    for (const url of ["http://localhost:80", "http://127.0.0.1", "http://[::1]/"]) {
      expect(policy.problemOf(url, "127.0.0.1")).toBeUndefined();
      expect(policy.problemOf(url, "::ffff:127.0.0.1")).toBeUndefined();
      expect(policy.problemOf(url, "192.168.1.9")).toContain("loopback");
      expect(policy.problemOf(url, null)).toContain("loopback");
    }
  });

  test("is refused with an address that is never asked, or that the config denies", () => {
    expect(policy.problemOf("http://169.254.169.254/", "127.0.0.1")).toContain("169.254.169.254");
    expect(policy.problemOf("http://[fe80::1]/", "127.0.0.1")).toContain("fe80::1");
    expect(policy.problemOf("http://10.1.2.3/", "10.1.2.3")).toContain("agent_url_deny");
  });

  test("may hold a name, whose addresses are judged at each question", () => {
    expect(policy.problemOf("http://hill.example/", "192.168.1.9")).toBeUndefined();
  });
});

test("a network is an address and a number of bits", () => {
  for (const text of ["10.0.0.0/8", "0.0.0.0/0", "10.1.2.3/32", "fd00::/8", "::/0", "::1/128"])
    expect(isCidr(text)).toBe(true);
  for (const text of [
    "10.0.0.0",
    "10.0.0.0/33",
    "::/129",
    "10.0.0.0/-1",
    "hill/8",
    "10.0.0.0/8/8",
    "/8",
    "10.0.0.0/",
  ])
    expect(isCidr(text)).toBe(false);
});
