import { describe, expect, test } from "bun:test";
import type { RegisterResponse } from "@fleet/protocol";
import { nodeId } from "../../testing.ts";
import { Api, ENROLL, OPERATOR, slowPost } from "../testing.ts";

async function register(
  api: Api,
  token: string,
  body: { node_id: string; instance_id?: string; group?: string },
) {
  const whole = { instance_id: "i1", version: "1.0.0", ...body };
  return api.call("POST", "/api/v1/agents/register", { token, body: whole });
}

const codeOf = (body: unknown): string => (body as { error: { code: string } }).error.code;

describe("an enrolment token (H5)", () => {
  test("limited to nodes registers only these", async () => {
    await using api = new Api();
    const token = await api.token({ name: "masts", kind: "enroll", nodes: ["mast*"] });
    expect((await register(api, token, { node_id: "mast1" })).status).toBe(200);
    const refused = await register(api, token, { node_id: "radar3" });
    expect([refused.status, codeOf(refused.body)]).toEqual([403, "forbidden"]);
    expect(api.registry.list().map((n) => n.id as string)).toEqual(["mast1"]);
  });

  test("limited to groups registers only nodes of these, which cannot leave them with their own token either", async () => {
    await using api = new Api();
    const token = await api.token({ name: "north", kind: "enroll", groups: ["north"] });
    const radar3 = { node_id: "radar3" };
    expect((await register(api, token, radar3)).status).toBe(403);
    const { body } = await register(api, token, { ...radar3, group: "north" });
    const { refresh_token } = body as RegisterResponse;
    expect((await register(api, refresh_token, { ...radar3, group: "south" })).status).toBe(403);
    const again = await register(api, refresh_token, { ...radar3, group: "north" });
    const { refresh_token: second } = again.body as RegisterResponse;
    expect((await register(api, second, { ...radar3, group: "south" })).status).toBe(403);
  });

  test("that is revoked does not affect nodes that registered with it", async () => {
    await using api = new Api();
    const token = await api.token({ name: "masts", kind: "enroll" });
    const { body } = await register(api, token, { node_id: "mast1" });
    const mine = body as RegisterResponse;
    await api.auth.tokens.revoke(api.auth.tokens.list().at(-1)!.id);
    expect((await register(api, token, { node_id: "mast2" })).status).toBe(401);
    const beat = { instance_id: "i1", epoch: 1 };
    const path = "/api/v1/agents/mast1/heartbeat";
    const answer = await api.call("POST", path, { token: mine.access_token, body: beat });
    expect(answer.status).toBe(200);
    expect((await register(api, mine.refresh_token, { node_id: "mast1" })).status).toBe(200);
  });

  test("that is revoked while the body arrives registers nobody", async () => {
    await using api = new Api();
    for (const path of ["/api/v1/agents/register", "/api/nodes/register"]) {
      const token = await api.token({ name: path.replaceAll("/", "-").slice(1), kind: "enroll" });
      const body = { node_id: "mast1", instance_id: "i1", version: "1", agent_url: "http://a" };
      const answer = slowPost(api, path, token, body, () =>
        api.auth.tokens.revoke(api.auth.tokens.list().at(-1)!.id),
      );
      expect(await answer).toBe(401);
    }
    expect(api.registry.list()).toEqual([]);
  });

  test("limited to groups takes over no node of another group, whatever group the request names", async () => {
    await using api = new Api();
    const { refresh_token: own } = await api.register("radar3", { group: "south" });
    const token = await api.token({ name: "north", kind: "enroll", groups: ["north"] });
    const thief = { node_id: "radar3", instance_id: "i2", group: "north" };
    const refused = await register(api, token, thief);
    expect([refused.status, codeOf(refused.body)]).toEqual([403, "forbidden"]);
    expect((await register(api, own, { node_id: "radar3", group: "south" })).status).toBe(200);
    await api.registry.remove(nodeId("radar3"));
    expect((await register(api, token, thief)).status).toBe(200);
    // A plain node may get an agent if it is in no other group.
    api.registry.heardPlain(nodeId("hill"), "south");
    api.registry.heardPlain(nodeId("mast1"));
    const become = async (id: string): Promise<number> =>
      (await register(api, token, { node_id: id, group: "north" })).status;
    expect([await become("hill"), await become("mast1")]).toEqual([403, 200]);
  });
});

describe("a refresh token (H5)", () => {
  test("is void once its node was removed; an enrolment token brings the node back", async () => {
    await using api = new Api();
    const { refresh_token: stolen } = await api.register("radar3");
    await api.call("DELETE", "/api/v1/agents/radar3", { token: OPERATOR });
    expect((await register(api, stolen, { node_id: "radar3" })).status).toBe(401);
    const { refresh_token: own } = await api.register("radar3", { instance_id: "i2" });
    const whoami = async (token: string): Promise<number> =>
      (await api.call("GET", "/api/v1/auth/whoami", { token })).status;
    expect([await whoami(stolen), await whoami(own)]).toEqual([401, 200]);
    expect((await register(api, stolen, { node_id: "radar3" })).status).toBe(401);
  });

  test("is void once another instance enrolled as its node", async () => {
    await using api = new Api();
    const { refresh_token: stolen } = await api.register("radar3");
    await api.register("radar3", { instance_id: "i2" });
    const thief = { node_id: "radar3", instance_id: "i3" };
    expect((await register(api, stolen, thief)).status).toBe(401);
  });
});

describe("a known node that presents only an enrolment token (H5)", () => {
  test("is registered, since its state may be lost, and audited as reenrolled", async () => {
    await using api = new Api();
    await api.register("radar3");
    const again = await register(api, ENROLL, { node_id: "radar3", instance_id: "i2" });
    expect(again.body).toMatchObject({ epoch: 2 });
    const outcomes = api.auth.audit.list(2).entries.map((e) => [e.subject, e.outcome]);
    expect(outcomes).toEqual([
      ["radar3", "reenrolled"],
      ["radar3", "ok"],
    ]);
  });

  test("is refused with registry.reenroll: prove, but accepted with its own token", async () => {
    await using api = new Api({ reenroll: false });
    const { refresh_token } = await api.register("radar3");
    const node = { node_id: "radar3", instance_id: "i2" };
    const refused = await register(api, ENROLL, node);
    expect([refused.status, codeOf(refused.body)]).toEqual([403, "reenroll_refused"]);
    expect((await register(api, refresh_token, node)).body).toMatchObject({ epoch: 2 });
  });

  test("is registered all the same if the instance is the registered one", async () => {
    await using api = new Api({ reenroll: false });
    await api.register("radar3");
    expect((await register(api, ENROLL, { node_id: "radar3" })).body).toMatchObject({ epoch: 1 });
    expect(api.auth.audit.list(1).entries[0]?.outcome).toBe("again");
  });
});
