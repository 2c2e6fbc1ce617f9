import { describe, expect, test } from "bun:test";
import { FakeClock, settle } from "@fleet/daemon/testing";
import { type FoundAddress, Resolver } from "./resolver.ts";

type Answer = readonly FoundAddress[] | { readonly code: string };

/** A name server whose answers the test gives by hand. */
class NameServer {
  readonly asked: string[] = [];
  readonly #open = new Map<string, PromiseWithResolvers<readonly FoundAddress[]>>();

  readonly lookup = (host: string): Promise<readonly FoundAddress[]> => {
    this.asked.push(host);
    const answer = Promise.withResolvers<readonly FoundAddress[]>();
    this.#open.set(host, answer);
    return answer.promise;
  };

  async answer(host: string, answer: Answer): Promise<void> {
    const open = this.#open.get(host)!;
    if ("code" in answer) open.reject(Object.assign(new Error(answer.code), answer));
    else open.resolve(answer);
    await settle();
  }
}

const HILL = [{ address: "10.0.0.7", ttl: 60 }];

function setUp() {
  const clock = new FakeClock();
  const server = new NameServer();
  return { clock, server, resolver: new Resolver(clock, server.lookup) };
}

describe("a resolver", () => {
  test("takes an address for what it is, without a lookup", async () => {
    const { server, resolver } = setUp();
    expect(await resolver.resolve("10.1.2.3", "health")).toEqual({
      at: "addresses",
      addresses: ["10.1.2.3"],
    });
    expect(await resolver.resolve("fe80::1", "health")).toMatchObject({ addresses: ["fe80::1"] });
    expect(server.asked).toEqual([]);
  });

  test("asks once for callers that wait together, whatever the case of the name, and keeps the answer for its time to live", async () => {
    const { clock, server, resolver } = setUp();
    const both = Promise.all([
      resolver.resolve("hill", "health"),
      resolver.resolve("HILL", "health"),
    ]);
    await server.answer("hill", HILL);
    expect(await both).toEqual([
      { at: "addresses", addresses: ["10.0.0.7"] },
      { at: "addresses", addresses: ["10.0.0.7"] },
    ]);
    clock.advance(59_999);
    await resolver.resolve("hill", "health");
    expect(server.asked).toEqual(["hill"]);
    clock.advance(1);
    // The old answer serves while the name is looked up anew.
    expect(await resolver.resolve("hill", "health")).toMatchObject({ addresses: ["10.0.0.7"] });
    expect(server.asked).toEqual(["hill", "hill"]);
  });

  test("keeps an answer at least 30 s and at most 5 min, whatever the record says", async () => {
    const { clock, server, resolver } = setUp();
    for (const [name, ttl, freshMs] of [
      ["short", 0, 30_000],
      ["long", 86_400, 300_000],
    ] as const) {
      const answer = resolver.resolve(name, "health");
      await server.answer(name, [{ address: "10.0.0.1", ttl }]);
      await answer;
      clock.advance(freshMs - 1);
      await resolver.resolve(name, "health");
      expect(server.asked.filter((asked) => asked === name)).toHaveLength(1);
      clock.advance(1);
      await resolver.resolve(name, "health");
      expect(server.asked.filter((asked) => asked === name)).toHaveLength(2);
      await server.answer(name, [{ address: "10.0.0.1", ttl }]);
    }
  });

  test("looks up one name at a time for each purpose", async () => {
    const { server, resolver } = setUp();
    void resolver.resolve("a", "health");
    void resolver.resolve("b", "health");
    void resolver.resolve("c", "fetch");
    expect(server.asked).toEqual(["a", "c"]);
    await server.answer("a", HILL);
    expect(server.asked).toEqual(["a", "c", "b"]);
  });

  test("says that a name does not exist, and asks again 30 s later", async () => {
    const { clock, server, resolver } = setUp();
    const answer = resolver.resolve("nowhere", "health");
    await server.answer("nowhere", { code: "DNS_ENOTFOUND" });
    expect(await answer).toEqual({ at: "unresolved", problem: "not_found" });
    clock.advance(29_999);
    expect(await resolver.resolve("nowhere", "health")).toEqual({
      at: "unresolved",
      problem: "not_found",
    });
    expect(server.asked).toHaveLength(1);
    clock.advance(1);
    void resolver.resolve("nowhere", "health");
    expect(server.asked).toHaveLength(2);
  });

  test("gives a name that timed out 1, 2, 4, 8, 10, 10 minutes before it is asked for again", async () => {
    const { clock, server, resolver } = setUp();
    for (const minutes of [1, 2, 4, 8, 10, 10]) {
      const answer = resolver.resolve("silent", "health");
      const asked = server.asked.length;
      clock.advance(5000);
      expect(await answer).toEqual({ at: "unresolved", problem: "timeout" });
      await server.answer("silent", { code: "DNS_ETIMEOUT" });
      clock.advance(minutes * 60_000 - 1);
      expect(await resolver.resolve("silent", "health")).toEqual({
        at: "unresolved",
        problem: "deferred",
      });
      expect(server.asked.length).toBe(asked);
      clock.advance(1);
    }
  });

  test("lets a living name overtake sixty dead ones", async () => {
    const { clock, server, resolver } = setUp();
    for (let n = 0; n < 60; n++) void resolver.resolve(`dead${n}`, "health");
    const alive = resolver.resolve("hill", "health");
    // Each dead name holds its turn for half a second; c-ares gives up on it after 30 s.
    let seconds = 0;
    const deadAsked = new Set<string>();
    while (!server.asked.includes("hill")) {
      clock.advance(500);
      await settle();
      seconds += 0.5;
      for (const name of server.asked.slice(0, Math.floor(seconds * 2) - 60))
        if (!deadAsked.has(name) && name !== "hill") {
          deadAsked.add(name);
          await server.answer(name, { code: "DNS_ETIMEOUT" });
        }
    }
    expect(seconds).toBeLessThanOrEqual(60);
    await server.answer("hill", HILL);
    expect(await alive).toMatchObject({ at: "addresses" });
    // From then on the living name goes first: those that timed out wait behind it.
    clock.advance(120_000);
    for (let n = 0; n < 60; n++) void resolver.resolve(`dead${n}`, "health");
    const before = server.asked.length;
    void resolver.resolve("valley", "health");
    clock.advance(500);
    expect(server.asked.slice(before, before + 2)).toContain("valley");
  });

  test("keeps a late answer, though its callers have gone", async () => {
    const { clock, server, resolver } = setUp();
    const answer = resolver.resolve("slow", "health");
    clock.advance(5000);
    expect(await answer).toMatchObject({ problem: "timeout" });
    await server.answer("slow", HILL);
    expect(await resolver.resolve("slow", "health")).toMatchObject({ addresses: ["10.0.0.7"] });
  });

  test("goes on with an old answer for an hour while the name server is silent", async () => {
    const { clock, server, resolver } = setUp();
    const first = resolver.resolve("hill", "health");
    await server.answer("hill", HILL);
    await first;
    clock.advance(61_000);
    expect(await resolver.resolve("hill", "health")).toMatchObject({ at: "addresses" });
    clock.advance(5000);
    expect(await resolver.resolve("hill", "health")).toMatchObject({ at: "addresses" });
    clock.advance(3_600_000);
    void resolver.resolve("hill", "health");
    clock.advance(5000);
    expect(await resolver.resolve("hill", "health")).toEqual({
      at: "unresolved",
      problem: "deferred",
    });
  });

  test("refuses the 1025th name that would have to wait", async () => {
    const { resolver } = setUp();
    // The first has its turn and does not wait.
    for (let n = 0; n < 1025; n++) void resolver.resolve(`n${n}`, "health");
    expect(await resolver.resolve("one-more", "health")).toEqual({
      at: "unresolved",
      problem: "busy",
    });
    expect(resolver.outcomes.get("busy")).toBe(1);
  });

  test("starts no further lookup while 32 are overdue", async () => {
    const { clock, server, resolver } = setUp();
    for (let n = 0; n < 40; n++) void resolver.resolve(`n${n}`, "health");
    for (let n = 0; n < 40; n++) {
      clock.advance(500);
      await settle();
    }
    expect(server.asked).toHaveLength(32);
    await server.answer("n0", { code: "DNS_ETIMEOUT" });
    expect(server.asked).toHaveLength(33);
  });
});
