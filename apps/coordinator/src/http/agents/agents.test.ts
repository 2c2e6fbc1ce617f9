import { describe, expect, test } from "bun:test";
import { registerResponseSchema, sensorNameSchema } from "@fleet/protocol";
import { nodeId, refuseWrites } from "../../testing.ts";
import { Api, ENROLL, OPERATOR, PUSH } from "../testing.ts";

const REGISTER = "/api/v1/agents/register";
const LIST = "/api/v1/agents";

function codeOf(answer: { readonly body: unknown }): unknown {
  return (answer.body as { error?: { code?: unknown } }).error?.code;
}

const RADAR = { name: "radar", runtime: "python", mode: "stream" } as const;

describe("register (R1, R6, H5)", () => {
  test("accepts an enrolment token or the node's own refresh token, and issues an access token that works", async () => {
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

  test("refuses every other token before it reads the body", async () => {
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

  test("lists the problems of a body with their paths, and refuses a body that is not JSON or too long", async () => {
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

  test("stores which sensors cannot run on the node, and why (A11)", async () => {
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

  test("requires the protocol header with version 1", async () => {
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

  test("responds 409 to a replaced instance, and affects no other node (R9)", async () => {
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

  test("followed by a deregister with counters keeps the final counters (A16)", async () => {
    await using api = new Api();
    const { access_token: token } = await api.register("radar3", { sensors: [RADAR] });
    const counters = { radar: { produced: 9, acked: 7, spooled: 1, dropped: { spool_full: 1 } } };
    const body = { instance_id: "i1", epoch: 1, counters };
    const bye = await api.call("POST", `${LIST}/radar3/deregister`, { token, body });
    expect(bye.status).toBe(204);
    const node = await api.call("GET", `${LIST}/radar3`, { token: OPERATOR });
    expect(node.body).toMatchObject({ state: "SHUTDOWN", counters });
  });

  test("on a full disk is 503 and makes readyz fail, while heartbeats still work", async () => {
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

  test("returns the frame port's host: the requested one, or the advertised one", async () => {
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
  test("makes a node LIVE again, stores counters, and changes no metadata", async () => {
    await using api = new Api();
    const { access_token: token } = await api.register("radar3", {
      group: "radar",
      sensors: [RADAR],
    });
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

  test("is refused for any other node, instance or epoch than the token's (H5, R9)", async () => {
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

  test("of an unknown node is 404, which makes the agent register", async () => {
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

test("deregister makes a node SHUTDOWN at once; a late heartbeat is told to register again (R5)", async () => {
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
