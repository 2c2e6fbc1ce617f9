import { describe, expect, test } from "bun:test";
import type { AuditList } from "@fleet/protocol";
import { nodeId, refuseWrites } from "../../testing.ts";
import { Api, ENROLL, OPERATOR, PUSH } from "../testing.ts";

const PATH = "/api/nodes/register";
const URL_A = "http://10.0.0.1:7701";
const URL_B = "http://10.0.0.2:7701";
const RADAR = nodeId("radar3");

function come(api: Api, url = URL_A, token = ENROLL, id = "radar3") {
  return api.call("POST", PATH, { token, body: { node_id: id, agent_url: url } });
}

async function refused(answer: Awaited<ReturnType<typeof come>>): Promise<unknown[]> {
  return [answer.status, (answer.body as { error?: { code: string } }).error?.code];
}

describe("the minimal form of a registration (R1)", () => {
  test("stores a LIVE agent node durably, and requests its health", async () => {
    await using api = new Api();
    const { status, body } = await come(api);
    expect([status, body]).toEqual([
      200,
      { node_id: "radar3", epoch: 1, heartbeat_interval_ms: 30_000 },
    ]);
    const { body: view } = await api.call("GET", "/api/v1/agents/radar3", { token: OPERATOR });
    expect(view).toMatchObject({
      kind: "agent",
      state: "LIVE",
      agent_url: URL_A,
      instance_id: null,
      version: null,
      epoch: 1,
      history: [{ event: "state" }, { event: "registered" }],
    });
    refuseWrites(api.db, true);
    expect(await refused(await come(api, URL_B))).toEqual([503, "unavailable"]);
  });

  test("keeps the epoch of the same address, and gives any other address the next one, also an earlier address", async () => {
    await using api = new Api();
    const epochs: unknown[] = [];
    for (const url of [URL_A, URL_A, URL_B, URL_B, URL_A]) epochs.push((await come(api, url)).body);
    expect(epochs).toMatchObject([1, 1, 2, 2, 3].map((epoch) => ({ epoch })));
    expect(api.registry.get(RADAR)?.row.agentUrl).toBe(URL_A);
    const events = api.registry.history(RADAR, 100).map((e) => e.event);
    expect(events.filter((e) => e === "registered")).toHaveLength(3);
    expect(events.filter((e) => e === "superseded")).toHaveLength(2);
  });

  test("makes a node LIVE again as any registration does", async () => {
    await using api = new Api();
    await come(api);
    api.clock.advance(100_000);
    expect(api.registry.stateOf(api.registry.get(RADAR)!)).toBe("STALE");
    await come(api);
    expect(api.registry.stateOf(api.registry.get(RADAR)!)).toBe("LIVE");
  });

  test("requires an enrolment token for this node (H5)", async () => {
    await using api = new Api();
    const { access_token, refresh_token } = await api.register("radar3");
    for (const token of ["", "x", PUSH, OPERATOR, access_token, refresh_token])
      expect(await refused(await come(api, URL_A, token))).toEqual([401, "unauthorized"]);
    const masts = await api.token({ name: "masts", kind: "enroll", nodes: ["mast*"] });
    expect(await refused(await come(api, URL_A, masts))).toEqual([403, "forbidden"]);
    expect((await come(api, URL_A, masts, "mast1")).status).toBe(200);
    expect((await come(api, URL_B, masts, "mast1")).status).toBe(200);
    // A repeat in place of a heartbeat is not audited.
    expect((await come(api, URL_B, masts, "mast1")).status).toBe(200);
    const group = await api.token({ name: "group", kind: "enroll", groups: ["radar"] });
    expect(await refused(await come(api, URL_A, group))).toEqual([403, "forbidden"]);
    const { body } = await api.call("GET", "/api/v1/audit", { token: OPERATOR });
    const seen = (body as AuditList).entries.filter((e) => e.action === `POST ${PATH}`);
    expect(seen.map((e) => [e.actor, e.subject, e.outcome])).toEqual([
      ["group", "radar3", "forbidden"],
      ["masts", "mast1", "reenrolled"],
      ["masts", "mast1", "ok"],
      ["masts", "radar3", "forbidden"],
    ]);
  });

  test("takes a node over from an agent with credentials, which become void, and can be taken over in turn (R9)", async () => {
    await using api = new Api();
    const full = await api.register("radar3");
    expect((await come(api)).body).toMatchObject({ epoch: 2 });
    const beat = { token: full.access_token, body: { instance_id: "i1", epoch: 1 } };
    const late = await api.call("POST", "/api/v1/agents/radar3/heartbeat", beat);
    expect(await refused(late)).toEqual([409, "superseded"]);
    expect((await api.register("radar3", { instance_id: "i2" })).epoch).toBe(3);
  });

  test("takes over no node with registry.reenroll: prove, but the same address may register again", async () => {
    await using api = new Api({ reenroll: false });
    await api.register("hill");
    expect(await refused(await come(api, URL_A, ENROLL, "hill"))).toEqual([
      403,
      "reenroll_refused",
    ]);
    expect((await come(api)).status).toBe(200);
    expect((await come(api)).status).toBe(200);
    expect(await refused(await come(api, URL_B))).toEqual([403, "reenroll_refused"]);
  });

  test("refuses blocked nodes, and starts a removed node above its old epoch (R4)", async () => {
    await using api = new Api();
    await come(api);
    await api.registry.remove(RADAR);
    expect((await come(api)).body).toMatchObject({ epoch: 2 });
    await api.registry.block(RADAR);
    expect(await refused(await come(api))).toEqual([403, "blocked"]);
  });

  test("leaves the node's frames to push tokens, since the node has no credentials (R10)", async () => {
    await using api = new Api();
    await come(api);
    api.clock.advance(100_000);
    expect(api.registry.heardPlain(RADAR)).toBe("heard");
    expect(api.registry.stateOf(api.registry.get(RADAR)!)).toBe("LIVE");
    await api.register("radar3");
    expect(api.registry.heardPlain(RADAR)).toBe("has_agent");
  });

  test("keeps the node's group, and accepts tokens that are limited to it", async () => {
    await using api = new Api();
    api.registry.heardPlain(RADAR, "radar");
    const token = await api.token({ name: "radars", kind: "enroll", groups: ["radar"] });
    expect((await come(api, URL_A, token)).status).toBe(200);
    expect(api.registry.get(RADAR)?.row.group).toBe("radar");
    expect(await refused(await come(api, URL_A, token, "hill"))).toEqual([403, "forbidden"]);
  });

  test("names the problems of a body", async () => {
    await using api = new Api();
    const bodies = [{}, { node_id: "radar3" }, { node_id: "a.b", agent_url: URL_A }];
    const urls = [
      "",
      "ftp://a",
      "10.0.0.1:7701",
      "file:///etc/passwd",
      "http://fleet:secret@10.0.0.1:7701",
      "http://10.0.0.1:7701/?token=secret",
      `http://a/${"x".repeat(2048)}`,
    ];
    const wrong = [...bodies, ...urls.map((agent_url) => ({ node_id: "radar3", agent_url }))];
    for (const body of wrong) {
      const answer = await api.call("POST", PATH, { token: ENROLL, body });
      expect(await refused(answer)).toEqual([400, "bad_request"]);
    }
    expect(api.registry.list()).toEqual([]);
  });
});
