import { describe, expect, test } from "bun:test";
import { whoamiResponseSchema } from "@fleet/protocol";
import { nodeId } from "../../testing.ts";
import { Api, ENROLL, OPERATOR, PUSH } from "../testing.ts";

const WHOAMI = "/api/v1/auth/whoami";

describe("whoami (A9, H5)", () => {
  test.each([
    ["enroll", ENROLL],
    ["push", PUSH],
    ["operator", OPERATOR],
  ])("describes a shared token of kind %p, with no node", async (kind, token) => {
    await using api = new Api();
    const answer = await api.call("GET", WHOAMI, { token });
    expect(answer.status).toBe(200);
    expect(whoamiResponseSchema.strict().parse(answer.body)).toEqual({
      kind: kind as "enroll",
      name: `env:FLEET_${kind.toUpperCase()}_TOKEN`,
      ...(kind === "operator" ? { role: "admin" as const } : {}),
      protocol: 1,
      version: "1.2.3",
      server_time_ms: api.clock.nowMs(),
      frames: { host: "127.0.0.1", port: 30_050, tls: false },
    });
    expect(answer.headers.get("Cache-Control")).toBe("no-store");
  });

  test("tells an agent's access token from its refresh token, and names the node", async () => {
    await using api = new Api();
    const mine = await api.register("radar3");
    for (const [kind, token] of [
      ["access", mine.access_token],
      ["refresh", mine.refresh_token],
    ] as const) {
      const { body } = await api.call("GET", WHOAMI, { token });
      expect(body).toMatchObject({ kind, node_id: "radar3" });
    }
    api.clock.advance(3_600_000);
    expect((await api.call("GET", WHOAMI, { token: mine.access_token })).status).toBe(401);
    expect((await api.call("GET", WHOAMI, { token: mine.refresh_token })).status).toBe(200);
  });

  test("refuses an access token that its node no longer honours", async () => {
    await using api = new Api();
    const whoami = async (token: string): Promise<number> =>
      (await api.call("GET", WHOAMI, { token })).status;
    const { access_token: first } = await api.register("radar3");
    const { access_token: second } = await api.register("radar3", { instance_id: "i2" });
    expect([await whoami(first), await whoami(second)]).toEqual([401, 200]);
    await api.registry.block(nodeId("radar3"));
    expect(await whoami(second)).toBe(401);
  });

  test("responds with the same 401 to no token, a wrong one and a part of a right one", async () => {
    await using api = new Api();
    const bodies = new Set<string>();
    for (const token of [undefined, "nonsense", ENROLL.slice(1), `${ENROLL}x`, "a.b.c"]) {
      const answer = await api.call("GET", WHOAMI, token === undefined ? {} : { token });
      expect(answer.status).toBe(401);
      expect(answer.headers.get("WWW-Authenticate")).toContain("Bearer");
      bodies.add(JSON.stringify(answer.body));
    }
    expect([...bodies].join()).toBe(
      JSON.stringify({
        error: { code: "unauthorized", message: "a valid bearer token is required" },
      }),
    );
  });

  test("changes neither the epoch nor the time a node was last heard, and does not end a SHUTDOWN", async () => {
    await using api = new Api();
    const { access_token: access, refresh_token: refresh } = await api.register("radar3");
    const body = { instance_id: "i1", epoch: 1 };
    await api.call("POST", "/api/v1/agents/radar3/deregister", { token: access, body });
    const seen = (): string => {
      const node = api.registry.get(nodeId("radar3"))!;
      return JSON.stringify([node.row, node.heardAtMs]);
    };
    const before = seen();
    api.clock.advance(60_000);
    for (const token of [access, refresh, ENROLL, PUSH])
      expect((await api.call("GET", WHOAMI, { token })).status).toBe(200);
    expect(seen()).toBe(before);
    expect(api.registry.list()).toHaveLength(1);
  });

  test("needs no protocol header, since it reports the protocol version", async () => {
    await using api = new Api();
    const answer = await fetch(api.url(WHOAMI), { headers: { Authorization: `Bearer ${ENROLL}` } });
    expect(await answer.json()).toMatchObject({ protocol: 1 });
  });

  test("returns the frame port's host: the requested one, or the advertised one", async () => {
    await using api = new Api();
    const headers = { Host: "fleet.example:7700" };
    const asked = await api.call("GET", WHOAMI, { token: ENROLL, headers });
    expect(asked.body).toMatchObject({ frames: { host: "fleet.example", port: 30_050 } });
    api.advertised = { host: "frames.example", port: 443, tls: true };
    const told = await api.call("GET", WHOAMI, { token: ENROLL });
    expect(told.body).toMatchObject({ frames: { host: "frames.example", port: 443 } });
  });
});
