import { describe, expect, test } from "bun:test";
import { FAILURES_MAX } from "../../auth/throttle.ts";
import { Api, ENROLL, OPERATOR } from "../testing.ts";

const LIST = "/api/v1/agents";
const BINARY = "/api/v1/agent/binary";

async function failTimes(api: Api, times: number): Promise<number[]> {
  const seen: number[] = [];
  for (let i = 0; i < times; i++)
    seen.push((await api.call("GET", LIST, { token: `wrong-${i}` })).status);
  return seen;
}

describe("an address that sends wrong tokens (H5)", () => {
  test("gets 401, then 429 with Retry-After, and may try again afterwards", async () => {
    await using api = new Api();
    const seen = await failTimes(api, FAILURES_MAX + 2);
    expect(seen).toEqual([...Array.from({ length: FAILURES_MAX - 1 }, () => 401), 429, 429, 429]);
    const limited = await api.call("GET", LIST, { token: "wrong" });
    expect(limited.headers.get("Retry-After")).toBe("60");
    expect(limited.body).toMatchObject({ error: { code: "too_many_failures" } });
    api.clock.advance(60_000);
    expect((await api.call("GET", LIST, { token: "wrong" })).status).toBe(401);
  });

  test("gets no more guesses from requests in parallel (H12)", async () => {
    await using api = new Api();
    const guesses = Array.from({ length: 200 }, (_, i) =>
      api.call("GET", LIST, { token: `w${i}` }),
    );
    const statuses = (await Promise.all(guesses)).map(({ status }) => status);
    expect(statuses.filter((status) => status === 401).length).toBeLessThan(FAILURES_MAX);
    expect(api.auth.refused.get("http")).toBe(FAILURES_MAX);
  });

  test("is throttled for short tokens, even correct ones, but not for long ones, so that others behind it go on", async () => {
    await using api = new Api();
    const mine = await api.register("radar3");
    const long = await api.token({ name: "wall", kind: "operator", role: "viewer" });
    await failTimes(api, FAILURES_MAX);
    expect((await api.call("GET", LIST, { token: OPERATOR })).status).toBe(429);
    expect((await api.call("GET", LIST, { token: long })).status).toBe(200);
    const beat = { instance_id: "i1", epoch: 1 };
    const path = "/api/v1/agents/radar3/heartbeat";
    const { status } = await api.call("POST", path, { token: mine.access_token, body: beat });
    expect(status).toBe(200);
    expect((await api.call("GET", "/healthz")).status).toBe(200);
  });

  test("is not charged for expired credentials that were issued here, so that a whole fleet may return late", async () => {
    await using api = new Api();
    const { access_token: token } = await api.register("radar3");
    api.clock.advance(2 * 3_600_000);
    const path = "/api/v1/agents/radar3/heartbeat";
    for (let i = 0; i < 2 * FAILURES_MAX; i++)
      expect((await api.call("POST", path, { token, body: {} })).status).toBe(401);
    expect(api.auth.throttledMs("127.0.0.1")).toBeUndefined();
  });

  test("is not charged for requests without a token, or with a valid one that lacks permission", async () => {
    await using api = new Api();
    const viewer = await api.token({ name: "wall", kind: "operator", role: "viewer" });
    for (let i = 0; i < 2 * FAILURES_MAX; i++) {
      await api.call("GET", LIST);
      await api.call("GET", "/api/v1/tokens", { token: viewer });
    }
    expect(api.auth.throttledMs("127.0.0.1")).toBeUndefined();
  });

  test("is charged for tokens in a header or a body, too", async () => {
    await using api = new Api();
    const header = { headers: { "X-Fleet-Agent-Token": "wrong" } };
    const post = (body: string): Promise<Response> =>
      fetch(api.url(BINARY), { method: "POST", body });
    for (let i = 0; i < FAILURES_MAX / 2; i++) {
      await api.call("GET", BINARY, header);
      await post("wrong");
    }
    expect((await api.call("GET", BINARY, header)).status).toBe(429);
    expect((await post(ENROLL)).status).toBe(429);
  });

  test("cannot hide a guess behind another token, be it a long one or an earlier one of its own", async () => {
    await using api = new Api();
    const { access_token: own } = await api.register("radar3");
    const guess = (token: string, wrong: string) =>
      api.call("GET", BINARY, { token, headers: { "X-Fleet-Agent-Token": wrong } });
    const post = (body: string): Promise<Response> =>
      fetch(api.url(BINARY), { method: "POST", body, headers: { Authorization: `Bearer ${own}` } });
    for (let i = 0; i < FAILURES_MAX / 2; i++) {
      await guess(own, "wrong");
      await post("wrong");
    }
    for (const token of [own, "x".repeat(40)])
      expect((await guess(token, ENROLL)).status).toBe(429);
    expect((await post(ENROLL)).status).toBe(429);
  });

  test("appears in the metrics and the log, without its tokens", async () => {
    await using api = new Api();
    await failTimes(api, FAILURES_MAX + 1);
    const metrics = String((await api.call("GET", "/metrics")).body);
    expect(metrics).toContain(`fleet_wrong_tokens_total{where="http"} ${FAILURES_MAX}`);
    expect(metrics).toContain('fleet_wrong_tokens_total{where="http_limited"} 1');
    expect(api.log.count("wrong token")).toBe(1);
    expect(JSON.stringify(api.log.lines)).not.toContain("wrong-");
  });
});

test("every response has the headers that restrict browsers", async () => {
  await using api = new Api();
  for (const path of ["/healthz", LIST, "/nowhere"]) {
    const { headers } = await api.call("GET", path);
    expect(headers.get("X-Content-Type-Options")).toBe("nosniff");
    expect(headers.get("X-Frame-Options")).toBe("SAMEORIGIN");
    expect(headers.get("Referrer-Policy")).toBe("no-referrer");
  }
});
