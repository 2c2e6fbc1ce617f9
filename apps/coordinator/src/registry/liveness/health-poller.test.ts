import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { instanceDigest, type NodeId } from "@fleet/protocol";
import { nodeId, registration, until } from "../../testing.ts";
import { AddressPolicy } from "../../net/address-policy.ts";
import { Resolver } from "../../net/resolver.ts";
import { HealthPoller } from "./health-poller.ts";
import { HILL, RADAR, registrationAt, Rig } from "../testing.ts";

const INTERVAL_MS = 30_000;

type Handler = () => Response | Promise<Response>;

/** A rig whose nodes registered an address each, with a server at each. */
class PollerRig implements AsyncDisposable {
  readonly rig = new Rig();
  readonly asked: string[] = [];
  readonly answers = new Map<NodeId, Handler>();
  readonly poller = new HealthPoller({
    registry: this.rig.registry,
    clock: this.rig.clock,
    resolver: new Resolver(this.rig.clock),
    addresses: new AddressPolicy(),
    intervalMs: INTERVAL_MS,
  });
  readonly #servers: Bun.Server<undefined>[] = [];

  constructor() {
    this.poller.start();
  }

  /** Registers a node with a server of its own; a full registration has more than the address. */
  async arrive(id: NodeId, isFull = false): Promise<void> {
    const server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: (request) => {
        this.asked.push(`${id} ${new URL(request.url).pathname}`);
        return this.answers.get(id)!();
      },
    });
    this.#servers.push(server);
    this.answers.set(id, () =>
      Response.json({ node_id: id, instance_sha256: instanceDigest("any") }),
    );
    const url = `http://127.0.0.1:${server.port}`;
    const full = registration({ node_id: id, instance_id: "i1", agent_url: url });
    await this.rig.registry.register(isFull ? full : registrationAt(id, url));
  }

  heardMs(id: NodeId): number {
    return this.rig.registry.get(id)!.heardAtMs!;
  }

  /** Starts the next round, and waits until it has asked `asks` nodes. */
  async round(asks: number): Promise<void> {
    const before = this.asked.length;
    this.rig.clock.advance(INTERVAL_MS);
    await until(() => this.asked.length === before + asks);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.poller.stop();
    await Promise.all(this.#servers.map((server) => server.stop(true)));
    await this.rig.registry.stop();
  }
}

let rig: PollerRig;
beforeEach(() => {
  rig = new PollerRig();
});
afterEach(() => rig[Symbol.asyncDispose]());

const nothing: Handler = () => new Response(null, { status: 404 });

describe("the health poller (R5)", () => {
  test("keeps nodes LIVE that registered only an address and respond there; it asks no other", async () => {
    await rig.arrive(RADAR);
    await rig.arrive(HILL);
    await rig.arrive(nodeId("full"), true);
    rig.answers.set(HILL, nothing);
    for (let round = 1; round <= 12; round++) {
      const before = rig.heardMs(RADAR);
      await rig.round(2);
      await until(() => rig.heardMs(RADAR) > before);
    }
    const states = [RADAR, HILL, nodeId("full")].map((id) => rig.rig.state(id));
    expect(states).toEqual(["LIVE", "STALE", "STALE"]);
    expect(new Set(rig.asked)).toEqual(new Set([`${RADAR} /health`, `${HILL} /health`]));
  });

  test("revives a node that responds again", async () => {
    await rig.arrive(RADAR);
    rig.answers.set(RADAR, nothing);
    for (let round = 1; round <= 4; round++) await rig.round(1);
    expect(rig.rig.state()).toBe("STALE");
    rig.answers.set(RADAR, () => Response.json({ node_id: RADAR }));
    await rig.round(1);
    await until(() => rig.rig.state() === "LIVE");
  });

  test("asks the nodes heard last first", async () => {
    await rig.arrive(HILL);
    rig.rig.clock.advance(1);
    await rig.arrive(RADAR);
    rig.rig.clock.advance(1);
    rig.rig.registry.heard(HILL);
    await rig.round(2);
    expect(rig.asked).toEqual([`${HILL} /health`, `${RADAR} /health`]);
  });

  test("ignores a response from another node, and one that arrives when the node is another agent's", async () => {
    await rig.arrive(RADAR);
    await rig.arrive(HILL);
    const answer = Promise.withResolvers<Response>();
    rig.answers.set(RADAR, () => answer.promise);
    rig.answers.set(HILL, () => Response.json({ node_id: RADAR }));
    const hillMs = rig.heardMs(HILL);
    await rig.round(2);
    await rig.rig.register("i1", RADAR);
    const radarMs = rig.heardMs(RADAR);
    rig.rig.clock.advance(1);
    answer.resolve(Response.json({ node_id: RADAR }));
    await rig.poller.stop();
    expect([rig.heardMs(RADAR), rig.heardMs(HILL)]).toEqual([radarMs, hillMs]);
  });

  test("waits at most 5 s for a response: a round that hangs is followed by the next", async () => {
    await rig.arrive(RADAR);
    rig.answers.set(RADAR, () => new Promise(() => {}));
    for (let round = 1; round <= 3; round++) await rig.round(1);
    rig.answers.set(RADAR, () => Response.json({ node_id: RADAR }));
    await rig.round(1);
    await until(() => rig.rig.state() === "LIVE");
  });
});
