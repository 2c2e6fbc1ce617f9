import { describe, expect, test } from "bun:test";
import { createdTokenSchema, type TokenList, tokenListSchema } from "@fleet/protocol";
import { nodeId, until } from "../../testing.ts";
import { Api, OPERATOR, slowPost } from "../testing.ts";

const TOKENS = "/api/v1/tokens";

async function create(api: Api, body: Record<string, unknown>) {
  return api.call("POST", TOKENS, { token: OPERATOR, body });
}

async function listed(api: Api): Promise<TokenList["tokens"]> {
  const { body } = await api.call("GET", TOKENS, { token: OPERATOR });
  return tokenListSchema.strict().parse(body).tokens;
}

describe("tokens (H5)", () => {
  test("are shown once, when created, and work at once", async () => {
    await using api = new Api();
    const { status, body, headers } = await create(api, {
      name: "wall",
      kind: "operator",
      role: "viewer",
      expires_in_ms: 60_000,
    });
    expect([status, headers.get("Cache-Control")]).toEqual([201, "no-store"]);
    const { token, secret } = createdTokenSchema.strict().parse(body);
    expect(token).toMatchObject({
      name: "wall",
      state: "VALID",
      created_by: "env:FLEET_OPERATOR_TOKEN",
      expires_at: api.clock.nowMs() + 60_000,
    });
    expect((await api.call("GET", "/api/v1/agents", { token: secret })).status).toBe(200);
    const tokens = await listed(api);
    expect(tokens.map((t) => t.name)).toEqual([
      "env:FLEET_ENROLL_TOKEN",
      "env:FLEET_PUSH_TOKEN",
      "env:FLEET_OPERATOR_TOKEN",
      "wall",
    ]);
    expect(JSON.stringify(tokens)).not.toContain(secret);
  });

  test("are described by whoami", async () => {
    await using api = new Api();
    const token = await api.token({ name: "wall", kind: "operator", role: "viewer" });
    const { body } = await api.call("GET", "/api/v1/auth/whoami", { token });
    expect(body).toMatchObject({ kind: "operator", name: "wall", role: "viewer" });
  });

  test("that cannot be created are refused with the reason", async () => {
    await using api = new Api();
    await create(api, { name: "a", kind: "push" });
    const again = await create(api, { name: "a", kind: "enroll" });
    expect([again.status, again.body]).toMatchObject([409, { error: { code: "token_exists" } }]);
    const bad = await create(api, { name: "b", kind: "operator", nodes: ["*"], colour: "red" });
    expect(bad.status).toBe(400);
    expect(JSON.stringify(bad.body)).toContain("colour");
    const role = await create(api, { name: "b", kind: "operator" });
    expect(JSON.stringify(role.body)).toContain("role: is required for operator tokens");
  });

  test("that are revoked are refused from then on, and their open streams end", async () => {
    await using api = new Api();
    const made = await create(api, { name: "wall", kind: "operator", role: "viewer" });
    const { token, secret } = createdTokenSchema.parse(made.body);
    const stream = await fetch(api.url("/api/v1/events"), {
      headers: { Authorization: `Bearer ${secret}` },
    });
    const other = await fetch(api.url("/api/v1/events"), {
      headers: { Authorization: `Bearer ${OPERATOR}` },
    });
    const reader = (other.body as ReadableStream<Uint8Array>).getReader();
    await reader.read();
    let ended = false;
    void stream.text().then(() => (ended = true));
    const path = `${TOKENS}/${token.id}`;
    expect((await api.call("DELETE", path, { token: OPERATOR })).status).toBe(204);
    await until(() => ended);
    expect((await api.call("GET", "/api/v1/agents", { token: secret })).status).toBe(401);
    api.bus.publish({ kind: "node.unblocked", nodeId: nodeId("x"), atMs: 0, data: {} });
    expect(new TextDecoder().decode((await reader.read()).value)).toContain("node.x.unblocked");
    await reader.cancel();
    expect((await listed(api)).at(-1)).toMatchObject({ name: "wall", state: "REVOKED" });
  });

  test("that are revoked while their request arrives create nothing", async () => {
    await using api = new Api();
    const token = await api.token({ name: "boss", kind: "operator", role: "admin" });
    const order = { name: "mine", kind: "operator", role: "admin" };
    const answer = slowPost(api, TOKENS, token, order, () =>
      api.auth.tokens.revoke(api.auth.tokens.list().at(-1)!.id),
    );
    expect(await answer).toBe(401);
    expect((await listed(api)).map((t) => t.name)).not.toContain("mine");
  });

  test("of the configuration, and unknown ones, cannot be revoked", async () => {
    await using api = new Api();
    const codes = [];
    for (const id of ["env:FLEET_PUSH_TOKEN", "none"]) {
      const { status, body } = await api.call("DELETE", `${TOKENS}/${id}`, { token: OPERATOR });
      codes.push([status, (body as { error: { code: string } }).error.code]);
    }
    expect(codes).toEqual([
      [409, "token_configured"],
      [404, "unknown_token"],
    ]);
  });
});

describe("the key that signs agents' credentials (H5)", () => {
  test("rotated once affects nobody; rotated twice, it voids older credentials", async () => {
    await using api = new Api();
    const { refresh_token: token } = await api.register("radar3");
    const rotate = () => api.call("POST", "/api/v1/auth/rotate-key", { token: OPERATOR });
    const body = { node_id: "radar3", instance_id: "i1", version: "1" };
    const register = async (): Promise<number> =>
      (await api.call("POST", "/api/v1/agents/register", { token, body })).status;
    expect([(await rotate()).status, await register()]).toEqual([204, 200]);
    expect([(await rotate()).status, await register()]).toEqual([204, 401]);
  });
});
