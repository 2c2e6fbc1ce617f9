/**
 * Kills a coordinator before every database statement, one per run, during registers, check-ins, changes of tokens and removals
 * of nodes. What it has confirmed holds after the restart; what it has not confirmed is done once when it is requested again.
 * (R1, R3, R4, R9, H5)
 */
import { describe, expect, test } from "bun:test";
import type { AuditList, NodeDetail, NodeList, RegisterResponse, TokenList } from "@fleet/protocol";
import { ENROLL_TOKEN, OPERATOR_TOKEN, until } from "../rig/fleet.ts";
import { type Coordinator, walk } from "./kill-walk.ts";

/** Long, because each step starts a process. */
const TEST_MS_MAX = 180_000;
const AGENTS = "/api/v1/agents";

/** The agent's side of one run, with its own node: successive instances and the answers they got. */
class Client {
  /** The last answer, and the instance that got it. */
  grant: (RegisterResponse & { readonly instance: string }) | undefined;
  /** The instance of a register that was not answered. */
  inDoubt: string | undefined;
  /** How far it got, for the checks. */
  at: "begun" | "leaving" | "gone" | "back" | "blocking" | "blocked" = "begun";
  /** Instances that have registered, or may have. */
  readonly instances: string[] = [];
  readonly node: string;

  constructor(node: string) {
    this.node = node;
  }

  async register(coordinator: Coordinator, instance: string, token: string): Promise<void> {
    this.inDoubt = instance;
    if (!this.instances.includes(instance)) this.instances.push(instance);
    const answer = await coordinator.ask("POST", `${AGENTS}/register`, token, {
      node_id: this.node,
      instance_id: instance,
      version: "1",
      class: "ephemeral",
    });
    expect(answer.status).toBe(200);
    this.inDoubt = undefined;
    this.grant = { ...(answer.body as RegisterResponse), instance };
  }

  async post(coordinator: Coordinator, what: "heartbeat" | "deregister"): Promise<number> {
    const { access_token: token, epoch, instance } = this.grant!;
    const body = { instance_id: instance, epoch };
    return (await coordinator.ask("POST", `${AGENTS}/${this.node}/${what}`, token, body)).status;
  }

  /** Repeats the request that was cut short. After that, everything is as if nothing had happened. */
  async settle(coordinator: Coordinator): Promise<void> {
    if (this.grant !== undefined) {
      const isReplaced = this.inDoubt !== undefined && this.inDoubt !== this.grant.instance;
      expect(isReplaced ? [200, 409] : [200]).toContain(await this.post(coordinator, "heartbeat"));
    }
    if (this.inDoubt !== undefined) await this.register(coordinator, this.inDoubt, ENROLL_TOKEN);
    await this.#checkRow(coordinator);
  }

  async #checkRow(coordinator: Coordinator): Promise<void> {
    const rows = await this.rows(coordinator);
    if (this.instances.length === 0) return expect(rows).toEqual([]);
    expect(rows.map(({ instance_id, epoch }) => [instance_id as string, epoch])).toEqual([
      [this.instances.at(-1)!, this.instances.length],
    ]);
    const { history } = await this.look(coordinator);
    const instancesOf = (event: string): unknown[] =>
      history
        .filter((h) => h.event === event)
        .map((h) => h.data["instance_id"])
        .toReversed();
    expect(instancesOf("registered")).toEqual(this.instances);
    expect(instancesOf("superseded")).toEqual(this.instances.slice(0, -1));
    for (const instance of this.instances.slice(0, -1))
      expect([instance, await this.try(coordinator, instance)]).toEqual([instance, 409]);
  }

  /** Returns the status of a register as `instance`. */
  async try(coordinator: Coordinator, instance: string, token = ENROLL_TOKEN): Promise<number> {
    const body = { node_id: this.node, instance_id: instance, version: "1" };
    return (await coordinator.ask("POST", `${AGENTS}/register`, token, body)).status;
  }

  async look(coordinator: Coordinator): Promise<NodeDetail> {
    return (await coordinator.ask("GET", this.path, OPERATOR_TOKEN)).body as NodeDetail;
  }

  /** Returns the states in the node's history, oldest first. */
  async states(coordinator: Coordinator): Promise<string> {
    return (await this.look(coordinator)).history
      .filter((h) => h.event === "state")
      .map((h) => h.data["state"])
      .toReversed()
      .join(" ");
  }

  /** Returns the node's rows in the list, at most one. Listing takes no step. */
  async rows(coordinator: Coordinator): Promise<NodeList["agents"]> {
    const { body } = await coordinator.ask("GET", AGENTS, OPERATOR_TOKEN);
    return (body as NodeList).agents.filter((agent) => agent.node_id === this.node);
  }

  async isKnown(coordinator: Coordinator): Promise<boolean> {
    return (await this.rows(coordinator)).length > 0;
  }

  get path(): string {
    return `${AGENTS}/${this.node}`;
  }
}

describe("a coordinator killed at every step", () => {
  test.concurrent(
    "of registers loses no confirmed one and duplicates none: one row, epochs one apart, one event each (R1, R9)",
    async () => {
      const steps = await walk((life) => new Client(`node-${life}`), {
        async act(coordinator, client) {
          await client.register(coordinator, "i1", ENROLL_TOKEN);
          await client.register(coordinator, "i1", client.grant!.refresh_token);
          await client.register(coordinator, "i2", client.grant!.refresh_token);
        },
        check: (coordinator, client) => client.settle(coordinator),
      });
      expect(steps).toBeGreaterThan(15);
    },
    TEST_MS_MAX,
  );

  test.concurrent(
    "of simultaneous registers loses no confirmed one and duplicates none (R1, A13)",
    async () => {
      const newMemory = (life: number): Client[] =>
        ["a", "b", "c"].map((name) => new Client(`node-${life}-${name}`));
      const steps = await walk(newMemory, {
        async act(coordinator, clients) {
          for (const instance of ["i1", "i2"]) {
            const asked = await Promise.allSettled(
              clients.map((client) => client.register(coordinator, instance, ENROLL_TOKEN)),
            );
            for (const one of asked) if (one.status === "rejected") throw one.reason as Error;
          }
        },
        async check(coordinator, clients) {
          for (const client of clients) await client.settle(coordinator);
        },
      });
      expect(steps).toBeGreaterThan(15);
    },
    TEST_MS_MAX,
  );

  test.concurrent(
    "of check-ins, deregistrations and its own stop keeps each confirmed state, and records it once (R3, R5)",
    async () => {
      const steps = await walk((life) => new Client(`node-${life}`), {
        prepare: (coordinator, client) => client.register(coordinator, "i1", ENROLL_TOKEN),
        async act(coordinator, client) {
          expect(await client.post(coordinator, "heartbeat")).toBe(200);
          client.at = "leaving";
          expect(await client.post(coordinator, "deregister")).toBe(204);
          client.at = "gone";
          await client.register(coordinator, "i1", client.grant!.refresh_token);
          client.at = "back";
        },
        async check(coordinator, client) {
          const possible: Partial<Record<Client["at"], string[]>> = {
            begun: ["LIVE"],
            leaving: ["LIVE", "LIVE SHUTDOWN"],
            gone: ["LIVE SHUTDOWN", "LIVE SHUTDOWN LIVE"],
            back: ["LIVE SHUTDOWN LIVE"],
          };
          expect(possible[client.at]).toContain(await client.states(coordinator));
          await client.settle(coordinator);
        },
      });
      expect(steps).toBeGreaterThan(10);
    },
    TEST_MS_MAX,
  );

  test.concurrent(
    "of removing and blocking a node forgets it permanently, and assigns no epoch twice (R4)",
    async () => {
      const steps = await walk((life) => new Client(`node-${life}`), {
        prepare: (coordinator, client) => client.register(coordinator, "i1", ENROLL_TOKEN),
        async act(coordinator, client) {
          const { epoch } = client.grant!;
          client.at = "leaving";
          const removed = await coordinator.ask("DELETE", client.path, OPERATOR_TOKEN);
          expect(removed.status).toBe(204);
          client.at = "gone";
          await client.register(coordinator, "i2", ENROLL_TOKEN);
          expect(client.grant!.epoch).toBe(epoch + 1);
          client.at = "blocking";
          const path = `${client.path}?block=true`;
          expect((await coordinator.ask("DELETE", path, OPERATOR_TOKEN)).status).toBe(204);
          client.at = "blocked";
        },
        async check(coordinator, client) {
          const isKnown = await client.isKnown(coordinator);
          const { at, inDoubt, grant } = client;
          if (at === "begun") expect(isKnown).toBe(true);
          if (at === "gone" && isKnown) expect(inDoubt).toBe("i2");
          if (at === "blocked" || (at === "blocking" && !isKnown)) {
            expect(isKnown).toBe(false);
            return expect(await client.try(coordinator, "i3")).toBe(403);
          }
          const { epoch } = grant!;
          await client.register(coordinator, "i3", ENROLL_TOKEN);
          // At most the unconfirmed register lies between.
          expect([epoch + 1, epoch + 2]).toContain(client.grant!.epoch);
        },
      });
      expect(steps).toBeGreaterThan(20);
    },
    TEST_MS_MAX,
  );

  test.concurrent(
    "of creating, using and revoking a token loses no confirmed act, and audits each one once (H5)",
    async () => {
      const tokens = "/api/v1/tokens";
      const newMemory = (life: number) => ({
        client: new Client(`node-${life}`),
        name: `token-${life}`,
        made: undefined as { readonly id: string; readonly secret: string } | undefined,
        used: false,
        revoking: "not yet" as "not yet" | "asked" | "answered",
      });
      const steps = await walk(newMemory, {
        async act(coordinator, memory) {
          const order = { name: memory.name, kind: "enroll" };
          const made = await coordinator.ask("POST", tokens, OPERATOR_TOKEN, order);
          expect(made.status).toBe(201);
          const { token, secret } = made.body as { token: { id: string }; secret: string };
          memory.made = { id: token.id, secret };
          await memory.client.register(coordinator, "i1", secret);
          memory.used = true;
          memory.revoking = "asked";
          const path = `${tokens}/${token.id}`;
          expect((await coordinator.ask("DELETE", path, OPERATOR_TOKEN)).status).toBe(204);
          memory.revoking = "answered";
        },
        async check(coordinator, { client, name, made, used, revoking }) {
          const list = (await coordinator.ask("GET", tokens, OPERATOR_TOKEN)).body as TokenList;
          const rows = list.tokens.filter((token) => token.name === name);
          const audited = (await coordinator.ask("GET", "/api/v1/audit?limit=20", OPERATOR_TOKEN))
            .body as AuditList;
          const acts = (method: string, subject: string): unknown[] =>
            audited.entries.filter(
              (entry) => entry.action.startsWith(method) && entry.subject === subject,
            );
          if (made === undefined) return expect(rows.length).toBeLessThanOrEqual(1);
          expect(rows.map(({ id }) => id)).toEqual([made.id]);
          expect(acts("POST", name)).toHaveLength(1);
          const isRevoked = rows[0]!.revoked_at !== null;
          if (revoking === "not yet") expect(isRevoked).toBe(false);
          if (revoking === "answered") {
            expect(isRevoked).toBe(true);
            expect(acts("DELETE", made.id)).toHaveLength(1);
          }
          const again = new Client(`${client.node}-b`);
          expect(await again.try(coordinator, "i1", made.secret)).toBe(isRevoked ? 401 : 200);
          // An agent that enrolled with the token has its own refresh token.
          if (used) await client.register(coordinator, "i2", client.grant!.refresh_token);
        },
      });
      expect(steps).toBeGreaterThan(15);
    },
    TEST_MS_MAX,
  );

  test.concurrent(
    "of forgetting a silent node forgets it once, and assigns no epoch twice (R4, R5)",
    async () => {
      const retention = { node_retention: { ephemeral: "200ms" } };
      const steps = await walk((life) => new Client(`node-${life}`), {
        config: { registry: { stale_after: "50ms", dead_after: "50ms", ...retention } },
        async act(coordinator, client) {
          await client.register(coordinator, "i1", ENROLL_TOKEN);
          await until("the node is forgotten", async () => !(await client.isKnown(coordinator)));
        },
        async check(coordinator, client) {
          const { grant } = client;
          if (grant === undefined) return;
          // The silent node keeps ageing meanwhile.
          const states = await client.states(coordinator).catch(() => "");
          expect("LIVE STALE DEAD").toStartWith(states);
          await client.register(coordinator, "i2", ENROLL_TOKEN);
          expect(client.grant!.epoch).toBe(grant.epoch + 1);
          // Otherwise it would age beside the next run's node.
          await coordinator.ask("DELETE", client.path, OPERATOR_TOKEN);
        },
      });
      expect(steps).toBeGreaterThan(20);
    },
    TEST_MS_MAX,
  );
});
