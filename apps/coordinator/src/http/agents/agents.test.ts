import { describe, expect, test } from "bun:test";
import { registerResponseSchema, sensorNameSchema } from "@fleet/protocol";
import { nodeId, refuseWrites } from "../../testing.ts";
import { Api, ENROLL, OPERATOR, PUSH } from "../testing.ts";

const REGISTER = "/api/v1/agents/register";
const LIST = "/api/v1/agents";

function codeOf(answer: { readonly body: unknown }): unknown {
  return (answer.body as { error?: { code?: unknown } }).error?.code;
}

describe("register (R1, R6, H5)", () => {
  test("lets an agent in with the enrolment token, and with its own refresh token, whose access token works", async () => {
    await using api = new Api();
    const body = { node_id: "radar3", instance_id: "i1", version: "1", group: "radar" };
    const first = await api.call("POST", REGISTER, { token: ENROLL, body });
    expect(first.status).toBe(200);
    const answer = registerResponseSchema.parse(first.body);
    expect(answer).toMatchObject({
      node_id: "radar3",
      epoch: 1,
      heartbeat_interval_ms: 30_000,
      events_url: "/api/v1/agents/radar3/events",
      protocol: 1,
      frames: { host: "127.0.0.1", port: 30_050, tls: false },
    });
    const again = await api.call("POST", REGISTER, { token: answer.refresh_token, body });
    expect(registerResponseSchema.parse(again.body).epoch).toBe(1);
    expect(await api.auth.credentials.verifyAccess(answer.access_token)).toBeDefined();
    expect(api.registry.get(nodeId("radar3"))?.row.group).toBe("radar");
  });

  test("is refused with every other token, before a word of the body is read", async () => {
    await using api = new Api();
    const mine = await api.register("radar3");
    const hill = await api.register("hill");
    const body = { node_id: "radar3", instance_id: "i2", version: "1" };
    const wrong = [
      undefined,
      "",
      "nonsense",
      PUSH,
      OPERATOR,
      mine.access_token,
      hill.refresh_token,
    ];
    for (const token of wrong) {
      const answer = await api.call("POST", REGISTER, {
        ...(token === undefined ? {} : { token }),
        body,
      });
      expect([answer.status, codeOf(answer)]).toEqual([401, "unauthorized"]);
      expect(answer.headers.get("WWW-Authenticate")).toContain("Bearer");
    }
    const backlog = await api.call("POST", REGISTER, { token: PUSH, body: "{" });
    expect(backlog.status).toBe(401);
    expect(api.registry.get(nodeId("radar3"))?.row.epoch).toBe(1);
  });

  test("lists what is wrong with a body, with paths; refuses what is no JSON and what is too long", async () => {
    await using api = new Api();
    const bad = await api.call("POST", REGISTER, {
      token: ENROLL,
      body: { node_id: "../x", instance_id: "i1", sensors: [{ name: "a b" }] },
    });
    expect([bad.status, codeOf(bad)]).toEqual([400, "bad_request"]);
    const { message } = (bad.body as { error: { message: string } }).error;
    for (const path of ["node_id:", "version:", "sensors.0.name:"]) expect(message).toContain(path);
    const noJson = await api.call("POST", REGISTER, { token: ENROLL, body: "{" });
    expect([noJson.status, codeOf(noJson)]).toEqual([400, "bad_request"]);
    const long = await api.call("POST", REGISTER, {
      token: ENROLL,
      body: "x".repeat(256 * 1024 + 1),
    });
    expect([long.status, codeOf(long)]).toEqual([413, "too_large"]);
    const justFits = await api.call("POST", REGISTER, {
      token: ENROLL,
      body: "x".repeat(256 * 1024),
    });
    expect(justFits.status).toBe(400);
  });

  test("shows which sensors can't run there, and why (A11)", async () => {
    await using api = new Api();
    const sensors = [
      { name: sensorNameSchema.parse("radar"), runtime: "python", mode: "stream" as const },
      {
        name: sensorNameSchema.parse("mast"),
        runtime: "node",
        mode: "poll" as const,
        problem: "needs node; no node was found in this image",
      },
    ];
    await api.register("hill", { sensors });
    const { body } = await api.call("GET", `${LIST}/hill`, { token: OPERATOR });
    expect(body).toMatchObject({ sensors });
  });

  test("needs the protocol header, of version 1", async () => {
    await using api = new Api();
    for (const path of [REGISTER, `${LIST}/a/heartbeat`, `${LIST}/a/deregister`]) {
      for (const version of ["2", ""]) {
        const headers = { "X-Fleet-Protocol-Version": version };
        const answer = await api.call("POST", path, { token: ENROLL, body: {}, headers });
        expect([answer.status, codeOf(answer)]).toEqual([400, "bad_protocol"]);
        const { message } = (answer.body as { error: { message: string } }).error;
        expect(message).toBe(
          `X-Fleet-Protocol-Version says "${version}"; this coordinator speaks version 1`,
        );
      }
    }
  });

  test("tells an instance that was replaced 409, and ends it nowhere else (R9)", async () => {
    await using api = new Api();
    const old = await api.register("radar3", { instance_id: "i1" });
    const next = await api.register("radar3", { instance_id: "i2" });
    expect(next.epoch).toBe(2);
    const body = { node_id: "radar3", instance_id: "i1", version: "1" };
    const back = await api.call("POST", REGISTER, { token: old.refresh_token, body });
    expect([back.status, codeOf(back)]).toEqual([409, "superseded"]);
    for (const what of ["heartbeat", "deregister"]) {
      const late = await api.call("POST", `${LIST}/radar3/${what}`, {
        token: old.access_token,
        body: { instance_id: "i1", epoch: 1 },
      });
      expect([late.status, codeOf(late)]).toEqual([409, "superseded"]);
    }
    expect(api.registry.get(nodeId("radar3"))?.row.shutdownAt).toBeNull();
  });

  test("and a goodbye that tells of the last frames leaves these counts behind (A16)", async () => {
    await using api = new Api();
    const { access_token: token } = await api.register("radar3");
    const counters = { radar: { produced: 9, acked: 7, spooled: 1, dropped: { full: 1 } } };
    const body = { instance_id: "i1", epoch: 1, counters };
    const bye = await api.call("POST", `${LIST}/radar3/deregister`, { token, body });
    expect(bye.status).toBe(204);
    const node = await api.call("GET", `${LIST}/radar3`, { token: OPERATOR });
    expect(node.body).toMatchObject({ state: "SHUTDOWN", counters });
  });

  test("on a full disk is 503, shows in readyz, and heartbeats go on", async () => {
    await using api = new Api();
    const { access_token: token } = await api.register("radar3");
    refuseWrites(api.db, true);
    const body = { node_id: "hill", instance_id: "i1", version: "1" };
    const refused = await api.call("POST", REGISTER, { token: ENROLL, body });
    expect([refused.status, codeOf(refused)]).toEqual([503, "unavailable"]);
    expect(JSON.stringify(refused.body)).not.toContain("readonly");
    expect((await api.call("GET", "/readyz")).status).toBe(503);
    expect((await api.call("GET", "/healthz")).status).toBe(200);
    const beat = { token, body: { instance_id: "i1", epoch: 1 } };
    expect((await api.call("POST", `${LIST}/radar3/heartbeat`, beat)).status).toBe(200);
    refuseWrites(api.db, false);
    api.clock.advance(10_000);
    expect((await api.call("GET", "/readyz")).status).toBe(200);
  });

  test("tells where frames go: the host asked, or the one that is advertised", async () => {
    await using api = new Api();
    const named = await api.call("POST", REGISTER, {
      token: ENROLL,
      body: { node_id: "a", instance_id: "i", version: "1" },
      headers: { Host: "fleet.example:7700" },
    });
    expect(registerResponseSchema.parse(named.body).frames.host).toBe("fleet.example");
    api.advertised = { host: "frames.example", port: 443, tls: true };
    expect((await api.register("b")).frames).toEqual({
      host: "frames.example",
      port: 443,
      tls: true,
    });
  });
});

describe("heartbeat (R5, R7)", () => {
  test("revives, keeps counters, and changes no metadata", async () => {
    await using api = new Api();
    const { access_token: token } = await api.register("radar3", { group: "radar" });
    api.clock.advance(100_000);
    const radar = { produced: 5, acked: 3, spooled: 1, dropped: { spool_full: 1 } };
    const answer = await api.call("POST", `${LIST}/radar3/heartbeat`, {
      token,
      body: { instance_id: "i1", epoch: 1, counters: { radar }, group: "other" },
    });
    expect(answer.body).toEqual({
      server_time_ms: api.clock.nowMs(),
      commands_waiting: 0,
      reregister: false,
    });
    const view = (await api.call("GET", `${LIST}/radar3`, { token: OPERATOR })).body;
    expect(view).toMatchObject({ state: "LIVE", group: "radar", counters: { radar } });
  });

  test("speaks for no other node, instance or epoch than its token's (H5, R9)", async () => {
    await using api = new Api();
    const { access_token: token } = await api.register("radar3");
    await api.register("hill");
    const at = api.clock.monotonicMs();
    api.clock.advance(1000);
    for (const what of ["heartbeat", "deregister"]) {
      const other = await api.call("POST", `${LIST}/hill/${what}`, {
        token,
        body: { instance_id: "i1", epoch: 1 },
      });
      expect([other.status, codeOf(other)]).toEqual([403, "forbidden"]);
      for (const body of [
        { instance_id: "i2", epoch: 1 },
        { instance_id: "i1", epoch: 2 },
      ]) {
        const wrong = await api.call("POST", `${LIST}/radar3/${what}`, { token, body });
        expect(wrong.status).toBe(403);
      }
      for (const none of [ENROLL, OPERATOR, PUSH, "x"]) {
        const answer = await api.call("POST", `${LIST}/radar3/${what}`, {
          token: none,
          body: { instance_id: "i1", epoch: 1 },
        });
        expect(answer.status).toBe(401);
      }
    }
    for (const id of ["hill", "radar3"]) {
      const node = api.registry.get(nodeId(id))!;
      expect([node.heardAtMs, node.row.shutdownAt]).toEqual([at, null]);
    }
  });

  test("of a node this coordinator doesn't know is 404, which sends the agent to register", async () => {
    await using api = new Api();
    const claims = { nodeId: nodeId("gone"), instanceId: "i1" as never, epoch: 3 };
    const { accessToken: token } = await api.auth.credentials.issue(claims);
    const body = { instance_id: "i1", epoch: 3 };
    const answer = await api.call("POST", `${LIST}/gone/heartbeat`, { token, body });
    expect([answer.status, codeOf(answer)]).toEqual([404, "unknown_node"]);
    const odd = await api.call("POST", `${LIST}/%2e%2e%2fx/heartbeat`, { token, body });
    expect(odd.status).toBe(404);
  });

  test("with an expired token is 401", async () => {
    await using api = new Api();
    const { access_token: token } = await api.register("radar3");
    api.clock.advance(3_600_000);
    const body = { instance_id: "i1", epoch: 1 };
    expect((await api.call("POST", `${LIST}/radar3/heartbeat`, { token, body })).status).toBe(401);
  });
});

test("deregister is SHUTDOWN at once; a late heartbeat doesn't revive but is told to register (R5)", async () => {
  await using api = new Api();
  const { access_token: token } = await api.register("radar3");
  const body = { instance_id: "i1", epoch: 1 };
  expect((await api.call("POST", `${LIST}/radar3/deregister`, { token, body })).status).toBe(204);
  const late = await api.call("POST", `${LIST}/radar3/heartbeat`, { token, body });
  expect(late.body).toMatchObject({ reregister: true });
  const view = (await api.call("GET", `${LIST}/radar3`, { token: OPERATOR })).body;
  expect(view).toMatchObject({ state: "SHUTDOWN" });
  await api.register("radar3");
  const again = await api.call("POST", `${LIST}/radar3/heartbeat`, { token, body });
  expect(again.body).toMatchObject({ reregister: false });
});
