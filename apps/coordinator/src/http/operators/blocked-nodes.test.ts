import { describe, expect, test } from "bun:test";
import { Api, ENROLL, OPERATOR } from "../testing.ts";

const body = (id: string) => ({ node_id: id, instance_id: "i1", version: "1.0.0" });
const code = (answer: { body: unknown }): unknown =>
  (answer.body as { error: { code: unknown } }).error.code;

describe("DELETE agents/{id} (R4)", () => {
  test("removes a node and voids its credentials; enrolled again, it starts above its old epoch", async () => {
    await using api = new Api();
    const { access_token: token, refresh_token: refresh } = await api.register("radar3");
    const path = "/api/v1/agents/radar3";
    expect((await api.call("DELETE", path, { token: OPERATOR })).status).toBe(204);
    expect((await api.call("GET", path, { token: OPERATOR })).status).toBe(404);
    const beat = { instance_id: "i1", epoch: 1 };
    const beaten = await api.call("POST", `${path}/heartbeat`, { token, body: beat });
    expect([beaten.status, code(beaten)]).toEqual([404, "unknown_node"]);
    const register = (shown: string) =>
      api.call("POST", "/api/v1/agents/register", { token: shown, body: body("radar3") });
    expect((await register(refresh)).status).toBe(401);
    expect((await register(ENROLL)).body).toMatchObject({ epoch: 2 });
    expect((await api.call("DELETE", "/api/v1/agents/other", { token: OPERATOR })).status).toBe(
      404,
    );
  });

  test("is for admins, and names the problems of a request", async () => {
    await using api = new Api();
    const { access_token: token } = await api.register("radar3");
    for (const given of [token, ENROLL, undefined]) {
      const asked = given === undefined ? {} : { token: given };
      expect((await api.call("DELETE", "/api/v1/agents/radar3", asked)).status).toBe(401);
      expect((await api.call("GET", "/api/v1/blocked-nodes", asked)).status).toBe(401);
      expect((await api.call("PUT", "/api/v1/blocked-nodes/radar3", asked)).status).toBe(401);
      expect((await api.call("DELETE", "/api/v1/blocked-nodes/radar3", asked)).status).toBe(401);
    }
    const odd = await api.call("DELETE", "/api/v1/agents/radar3?block=yes", { token: OPERATOR });
    expect([odd.status, code(odd)]).toEqual([400, "bad_request"]);
    expect((await api.call("GET", "/api/v1/agents/radar3", { token: OPERATOR })).status).toBe(200);
  });

  test("with block=true blocks the id everywhere until it is unblocked", async () => {
    await using api = new Api();
    const { access_token: token, refresh_token: refresh } = await api.register("radar3");
    const path = "/api/v1/agents/radar3";
    const admin = { token: OPERATOR };
    expect((await api.call("DELETE", `${path}?block=true`, admin)).status).toBe(204);
    const beat = { instance_id: "i1", epoch: 1 };
    for (const answer of [
      await api.call("POST", "/api/v1/agents/register", { token: refresh, body: body("radar3") }),
      await api.call("POST", "/api/v1/agents/register", { token: ENROLL, body: body("radar3") }),
      await api.call("POST", `${path}/heartbeat`, { token, body: beat }),
      await api.call("POST", `${path}/deregister`, { token, body: beat }),
      await api.call("GET", `${path}/events`, { token }),
    ])
      expect([answer.status, code(answer)]).toEqual([403, "blocked"]);
    const listed = await api.call("GET", "/api/v1/blocked-nodes", admin);
    expect(listed.body).toEqual({
      blocked: [{ node_id: "radar3", blocked_at: api.clock.nowMs() }],
    });
    expect((await api.call("DELETE", "/api/v1/blocked-nodes/radar3", admin)).status).toBe(204);
    expect((await api.call("DELETE", "/api/v1/blocked-nodes/radar3", admin)).status).toBe(404);
    expect((await api.register("radar3")).epoch).toBe(2);
  });
});

test("an id can be blocked before it is used, and the list is paged (R4)", async () => {
  await using api = new Api();
  const admin = { token: OPERATOR };
  for (const id of ["c", "a", "b"])
    expect((await api.call("PUT", `/api/v1/blocked-nodes/${id}`, admin)).status).toBe(204);
  expect((await api.call("PUT", "/api/v1/blocked-nodes/.x", admin)).status).toBe(400);
  const first = await api.call("GET", "/api/v1/blocked-nodes?limit=2", admin);
  expect(first.body).toMatchObject({ blocked: [{ node_id: "a" }, { node_id: "b" }] });
  const { next_cursor: next } = first.body as { next_cursor: string };
  const rest = await api.call("GET", `/api/v1/blocked-nodes?limit=2&cursor=${next}`, admin);
  expect(rest.body).toEqual({ blocked: [{ node_id: "c", blocked_at: api.clock.nowMs() }] });
  expect((await api.call("DELETE", "/api/v1/agents/d?block=true", admin)).status).toBe(204);
  const refused = await api.call("POST", "/api/v1/agents/register", {
    token: ENROLL,
    body: body("d"),
  });
  expect(code(refused)).toBe("blocked");
});

test("a node is returned with the requested number of history entries (R5)", async () => {
  await using api = new Api();
  await api.register("radar3");
  const show = async (query: string): Promise<unknown> => {
    const { status, body: node } = await api.call("GET", `/api/v1/agents/radar3${query}`, {
      token: OPERATOR,
    });
    return status === 200 ? (node as { history: { event: string }[] }).history : status;
  };
  const at = api.clock.nowMs();
  const live = { at, event: "state", data: { state: "LIVE", previous_state: "UNKNOWN" } };
  const data = { kind: "agent", version: "1.0.0", instance_id: "i1", epoch: 1 };
  expect(await show("")).toEqual([live, { at, event: "registered", data }]);
  expect(await show("?history=1")).toEqual([live]);
  expect(await show("?history=0")).toEqual([]);
  expect(await show("?history=101")).toBe(400);
});
