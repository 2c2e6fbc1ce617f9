import { describe, expect, test } from "bun:test";
import type { Access, AuditList, Role } from "@fleet/protocol";
import { refuseWrites } from "../../testing.ts";
import { ACCESS } from "./access.ts";
import { Api, ENROLL, OPERATOR, PUSH } from "../testing.ts";

const ROLES: readonly Role[] = ["viewer", "operator", "admin"];

/** The routes of the application, without its middleware. */
function routesOf(api: Api): Set<string> {
  return new Set(
    api.app.routes.filter((r) => r.method !== "ALL").map((r) => `${r.method} ${r.path}`),
  );
}

function roleRoutes(): (readonly [string, Role])[] {
  return Object.entries<Access>(ACCESS).filter((e): e is [string, Role] =>
    ROLES.includes(e[1] as Role),
  );
}

async function ask(api: Api, route: string, token?: string) {
  const [method = "", pattern = ""] = route.split(" ");
  const path = pattern.replaceAll(/:\w+/g, "nobody");
  return api.call(method, path, token === undefined ? {} : { token });
}

describe("the access table (H5)", () => {
  test("has exactly the routes that the application serves", async () => {
    await using api = new Api();
    expect(routesOf(api)).toEqual(new Set(Object.keys(ACCESS)));
  });

  test("decides every request: a route that is not in it answers nobody", async () => {
    await using api = new Api();
    api.app.get("/api/v1/new", (c) => c.text("secret"));
    const answer = await api.call("GET", "/api/v1/new", { token: OPERATOR });
    expect([answer.status, JSON.stringify(answer.body)]).toEqual([
      404,
      '{"error":{"code":"not_found","message":"no such resource"}}',
    ]);
  });

  test("requires more than a viewer for routes that change something", () => {
    for (const [route, role] of roleRoutes())
      if (!route.startsWith("GET ")) expect([route, role]).not.toEqual([route, "viewer"]);
  });
});

describe("a route that requires a role (H5)", () => {
  test("is closed without a token, with a wrong one, and with one of another kind", async () => {
    await using api = new Api();
    const { access_token, refresh_token } = await api.register("radar3");
    for (const [route] of roleRoutes()) {
      for (const token of [undefined, "nonsense", ENROLL, PUSH, access_token, refresh_token]) {
        const { status } = await ask(api, route, token);
        expect([route, [401, 429].includes(status)]).toEqual([route, true]);
      }
    }
  });

  test("is closed under every spelling of its path, and to HEAD as to GET", async () => {
    await using api = new Api();
    const spellings = (path: string): string[] => [
      `/${path}`,
      `${path}/`,
      `${path}?`,
      path.toUpperCase(),
      path.replace("/api", "/%61pi"),
      path.replace("/v1", "/./v1"),
      path.replace("/v1/", "/v1//"),
      path.replace("/v1/", "/v1/agents/../"),
      path.replace("/v1/", "/v1%2f"),
      `/healthz/..${path}`,
    ];
    for (const [route] of roleRoutes()) {
      const [method = "", pattern = ""] = route.split(" ");
      for (const path of spellings(pattern.replaceAll(/:\w+/g, "nobody"))) {
        const { status } = await api.call(method, path);
        expect([method, path, [401, 404].includes(status)]).toEqual([method, path, true]);
        if (method !== "GET") continue;
        const head = await fetch(api.url(path), { method: "HEAD" });
        expect(["HEAD", path, [401, 404].includes(head.status)]).toEqual(["HEAD", path, true]);
      }
    }
  });

  test("is closed below its role, and open from it on", async () => {
    await using api = new Api();
    for (const [route, needed] of roleRoutes()) {
      for (const [rank, role] of ROLES.entries()) {
        const name = `${role}-${route.replaceAll(/\W/g, "-")}`.slice(0, 60);
        const token = await api.token({ name, kind: "operator", role });
        // Skipped: an open event stream would not end.
        if (route === "GET /api/v1/events" && rank >= ROLES.indexOf(needed)) continue;
        const { status, body } = await ask(api, route, token);
        expect([route, role, status === 403]).toEqual([route, role, rank < ROLES.indexOf(needed)]);
        if (status === 403) {
          const message = `this requires the role ${needed}, but the token has ${role}`;
          expect(body).toEqual({ error: { code: "forbidden", message } });
        }
      }
    }
  });

  test("is open to the configured operator token", async () => {
    await using api = new Api();
    for (const route of ["GET /api/v1/agents", "GET /api/v1/tokens", "GET /api/v1/audit"])
      expect((await ask(api, route, OPERATOR)).status).toBe(200);
  });
});

describe("the audit log (H5)", () => {
  const entriesOf = async (api: Api) =>
    ((await api.call("GET", "/api/v1/audit", { token: OPERATOR })).body as AuditList).entries;

  test("records changes with actor, subject, address and outcome", async () => {
    await using api = new Api();
    const viewer = await api.token({ name: "wall", kind: "operator", role: "viewer" });
    const made = await api.call("POST", "/api/v1/tokens", {
      token: OPERATOR,
      body: { name: "hill", kind: "push" },
    });
    const { id } = (made.body as { token: { id: string } }).token;
    await api.call("DELETE", `/api/v1/tokens/${id}`, { token: OPERATOR });
    await api.call("DELETE", "/api/v1/tokens/none", { token: OPERATOR });
    await api.call("POST", "/api/v1/tokens", { token: viewer, body: { name: "x", kind: "push" } });
    const at = api.clock.nowMs();
    const address = "127.0.0.1";
    const boss = { actor: "env:FLEET_OPERATOR_TOKEN", address, at };
    const [post, del] = ["POST /api/v1/tokens", "DELETE /api/v1/tokens/:id"];
    expect(await entriesOf(api)).toMatchObject([
      { ...boss, actor: "wall", action: post, subject: null, outcome: "forbidden" },
      { ...boss, action: del, subject: "none", outcome: "unknown_token" },
      { ...boss, action: del, subject: id, outcome: "ok" },
      { ...boss, action: post, subject: "hill", outcome: "ok" },
    ]);
  });

  test("records registrations with an enrolment token, accepted or refused, but not what agents do with their own tokens", async () => {
    await using api = new Api();
    const { refresh_token, access_token } = await api.register("radar3");
    const body = { node_id: "radar3", instance_id: "i1", version: "1" };
    const path = "/api/v1/agents/register";
    await api.call("POST", path, { token: refresh_token, body });
    const beat = { instance_id: "i1", epoch: 1 };
    await api.call("POST", "/api/v1/agents/radar3/heartbeat", { token: access_token, body: beat });
    const token = await api.token({ name: "masts", kind: "enroll", nodes: ["mast*"] });
    await api.call("POST", path, { token, body });
    const seen = (await entriesOf(api)).map((e) => [e.actor, e.action, e.subject, e.outcome]);
    expect(seen).toEqual([
      ["masts", "POST /api/v1/agents/register", "radar3", "forbidden"],
      ["env:FLEET_ENROLL_TOKEN", "POST /api/v1/agents/register", "radar3", "ok"],
    ]);
  });

  test("records nothing of clients without a valid token, and never contains a token", async () => {
    await using api = new Api();
    const token = await api.token({ name: "boss", kind: "operator", role: "admin" });
    for (let i = 0; i < 30; i++) await api.call("POST", "/api/v1/tokens", { token: `wrong-${i}` });
    expect(api.auth.audit.list(1).entries).toEqual([]);
    const order = { name: "hill", kind: "push" };
    const { body } = await api.call("POST", "/api/v1/tokens", { token, body: order });
    const { secret } = body as { secret: string };
    const rows = JSON.stringify([api.auth.audit.list(10), api.log.lines]);
    for (const hidden of [secret, token, "wrong-"]) expect(rows).not.toContain(hidden);
  });

  test("records what a full disk prevented, once the disk can be written again", async () => {
    await using api = new Api();
    const order = { token: OPERATOR, body: { name: "hill", kind: "push" } };
    refuseWrites(api.db, true);
    expect((await api.call("POST", "/api/v1/tokens", order)).status).toBe(503);
    refuseWrites(api.db, false);
    api.clock.advance(1000);
    const [entry] = await entriesOf(api);
    expect(entry).toMatchObject({ subject: "hill", outcome: "unavailable" });
  });

  test("is paged", async () => {
    await using api = new Api();
    for (const name of ["a", "b", "c"])
      await api.call("POST", "/api/v1/tokens", { token: OPERATOR, body: { name, kind: "push" } });
    const page = async (query: string): Promise<AuditList> =>
      (await api.call("GET", `/api/v1/audit?${query}`, { token: OPERATOR })).body as AuditList;
    const first = await page("limit=2");
    expect(first.entries.map((e) => e.subject)).toEqual(["c", "b"]);
    const second = await page(`limit=2&cursor=${first.next_cursor}`);
    expect([second.entries.map((e) => e.subject), second.next_cursor]).toEqual([["a"], undefined]);
    for (const query of ["limit=0", "limit=1001", "cursor=x"])
      expect((await api.call("GET", `/api/v1/audit?${query}`, { token: OPERATOR })).status).toBe(
        400,
      );
  });
});
