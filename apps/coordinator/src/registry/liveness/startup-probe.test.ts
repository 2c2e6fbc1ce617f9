import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { instanceDigest, type NodeId } from "@fleet/protocol";
import { nodeId, registration, until } from "../../testing.ts";
import { AddressPolicy } from "../../net/address-policy.ts";
import { Resolver } from "../../net/resolver.ts";
import { StartupProbe } from "./startup-probe.ts";
import { HILL, RADAR, Rig } from "../testing.ts";

type Handler = (request: Request) => Response | Promise<Response>;

/** A rig whose nodes were known before the start, with a server for each agent. */
class ProbeRig implements AsyncDisposable {
  readonly rig = new Rig();
  readonly asked: string[] = [];
  readonly #servers: Bun.Server<undefined>[] = [];
  probe = this.#newProbe();

  /** Registers a node with a server of its own. */
  async know(id: NodeId, answer: Handler): Promise<void> {
    const server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: (request) => {
        this.asked.push(`${request.method} ${new URL(request.url).pathname}`);
        return answer(request);
      },
    });
    this.#servers.push(server);
    await this.rig.registry.register(
      registration({
        node_id: id,
        instance_id: "i1",
        agent_url: `http://127.0.0.1:${server.port}`,
      }),
    );
  }

  /** Restarts the coordinator, and starts the probe. */
  restart(): void {
    this.rig.restart();
    this.probe = this.#newProbe();
    this.probe.start();
  }

  done(): Promise<void> {
    return until(() => this.rig.log.count("startup probe of known agents done") === 1);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.probe.stop();
    await Promise.all(this.#servers.map((server) => server.stop(true)));
    await this.rig.registry.stop();
  }

  #newProbe(): StartupProbe {
    const { registry, clock, log } = this.rig;
    const [resolver, addresses] = [new Resolver(clock), new AddressPolicy()];
    return new StartupProbe({ registry, clock, log, resolver, addresses });
  }
}

let rig: ProbeRig;
beforeEach(() => {
  rig = new ProbeRig();
});
afterEach(() => rig[Symbol.asyncDispose]());

const health = (more: object = {}): Response =>
  Response.json({ node_id: RADAR, instance_sha256: instanceDigest("i1"), ...more });
const states = (): unknown[] => [rig.rig.state(RADAR), rig.rig.state(HILL)];

describe("the startup probe (R2)", () => {
  test("makes nodes that respond LIVE at once; all others stay UNKNOWN", async () => {
    await rig.know(RADAR, () => health());
    await rig.rig.register("i1", HILL);
    rig.restart();
    expect(states()).toEqual(["UNKNOWN", "UNKNOWN"]);
    await rig.done();
    expect(states()).toEqual(["LIVE", "UNKNOWN"]);
    expect(rig.asked).toEqual(["GET /health"]);
  });

  test("accepts a response without an instance as the known instance's", async () => {
    await rig.know(RADAR, () => health({ instance_sha256: undefined }));
    rig.restart();
    await rig.done();
    expect(states()[0]).toBe("LIVE");
  });

  const bad: readonly (readonly [string, Handler])[] = [
    ["another node", () => health({ node_id: "hill" })],
    ["another instance", () => health({ instance_sha256: instanceDigest("i2") })],
    ["a redirect", () => Response.redirect("/elsewhere", 302)],
    ["an error", () => Response.json({ node_id: RADAR }, { status: 503 })],
    ["no JSON", () => new Response("ok")],
    ["nothing", () => new Response(null, { status: 204 })],
    ["too much", () => new Response(" ".repeat(5000) + JSON.stringify({ node_id: RADAR }))],
    ["without end", () => new Response(new ReadableStream({ pull: (c) => c.enqueue(" ") }))],
  ];
  test.each(bad)("is not convinced by %s", async (_, answer) => {
    await rig.know(RADAR, answer);
    rig.restart();
    await rig.done();
    expect(states()[0]).toBe("UNKNOWN");
    expect(rig.asked).toEqual(["GET /health"]);
  });

  test("waits at most 5 s for a response", async () => {
    await rig.know(RADAR, () => new Promise(() => {}));
    rig.restart();
    await until(() => rig.asked.length === 1);
    await rig.rig.clock.run(4999);
    expect(rig.rig.log.count("startup probe of known agents done")).toBe(0);
    rig.rig.clock.advance(1);
    await rig.done();
    expect(states()[0]).toBe("UNKNOWN");
  });

  test("asks 64 nodes at a time, and none that was heard while it waited", async () => {
    const held: (() => void)[] = [];
    for (let n = 0; n < 70; n++) {
      const id = nodeId(`n${n}`);
      await rig.know(
        id,
        () =>
          new Promise((resolve) => {
            held.push(() => resolve(health({ node_id: id })));
          }),
      );
    }
    rig.restart();
    await until(() => held.length === 64);
    for (const node of rig.rig.registry.list()) rig.rig.registry.heard(node.id);
    for (const answer of held) answer();
    await rig.done();
    expect(held).toHaveLength(64);
  });

  test("asks no node that said goodbye", async () => {
    await rig.know(RADAR, () => health());
    await rig.rig.registry.deregister(RADAR);
    rig.restart();
    await rig.probe.stop();
    expect([rig.asked, states()[0]]).toEqual([[], "SHUTDOWN"]);
  });

  test("does not revive a node that was removed or taken over while it was asked", async () => {
    const held: (() => void)[] = [];
    for (const id of [RADAR, HILL])
      await rig.know(
        id,
        () =>
          new Promise((resolve) => {
            held.push(() => resolve(health({ node_id: id })));
          }),
      );
    rig.restart();
    await until(() => held.length === 2);
    await rig.rig.registry.remove(RADAR);
    await rig.rig.register("i2", HILL);
    for (const answer of held) answer();
    await rig.done();
    expect(states()).toEqual([undefined, "LIVE"]);
    expect(rig.rig.log.lines.at(-1)?.fields).toMatchObject({ asked: 2, answered: 0 });
  });

  test("ends at a stop", async () => {
    await rig.know(RADAR, () => new Promise(() => {}));
    rig.restart();
    await until(() => rig.asked.length === 1);
    await rig.probe.stop();
    expect(rig.rig.clock.timers).toBe(2);
  });
});
