import { afterEach, describe, expect, test } from "bun:test";
import { FakeClock, TestAuthority, type TestPair } from "@fleet/daemon/testing";
import { accessApi, agentsApi, nodesApi, serviceApi } from "@fleet/protocol";
import { ApiClient } from "./api-client.ts";
import { ApiError } from "./api-error.ts";

const servers: Bun.Server<undefined>[] = [];
const HEALTHY = { status: "ok", version: "1.2.3" };

afterEach(() => {
  for (const server of servers.splice(0)) void server.stop(true);
});

function serve(answer: (request: Request) => Response | Promise<Response>): string {
  const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: answer });
  servers.push(server);
  return `http://127.0.0.1:${server.port}`;
}

const client = (url: string) => new ApiClient({ url, clock: new FakeClock() });
const health = (url: string) => client(url).attempt(serviceApi.health, {});

describe("a request", () => {
  test("is what its contract says, below the base address, with the token and the protocol version", async () => {
    const seen: unknown[] = [];
    const url = serve(async (request) => {
      const { headers } = request;
      seen.push(request.method, new URL(request.url).pathname, await request.json());
      seen.push(
        headers.get("authorization"),
        headers.get("x-fleet-protocol-version"),
        headers.get("content-type"),
      );
      return Response.json({ server_time_ms: 5, commands_waiting: 0, reregister: false });
    });
    const body = { instance_id: "i1", epoch: 1 };
    const answer = await new ApiClient({ url: `${url}/base/`, token: "default" }).attempt(
      agentsApi.heartbeat,
      { params: { id: "radar3" }, body },
      { token: "t" },
    );
    expect(answer).toMatchObject({ at: "ok", body: { server_time_ms: 5, reregister: false } });
    const path = "/base/api/v1/agents/radar3/heartbeat";
    expect(seen).toEqual(["POST", path, body, "Bearer t", "1", "application/json"]);
  });

  test("repeats the lists of its query, and escapes what goes into a path", async () => {
    const seen: string[] = [];
    const url = serve((request) => {
      seen.push(request.url.slice(url.length), request.headers.get("authorization") ?? "-");
      return Response.json({ agents: [] });
    });
    const api = new ApiClient({ url, token: "default" });
    await api.call(nodesApi.list, { query: { status: ["LIVE", "STALE"], limit: 2, q: "a&b" } });
    await api.attempt(accessApi.revokeToken, { params: { id: "../x y" } });
    expect(seen).toEqual([
      "/api/v1/agents?status=LIVE&status=STALE&limit=2&q=a%26b",
      "Bearer default",
      "/api/v1/tokens/..%2Fx%20y",
      "Bearer default",
    ]);
  });

  test("returns text where the API has no JSON, and nothing for an empty response", async () => {
    const url = serve((request) =>
      request.method === "GET" ? new Response("fleet_x 1\n") : new Response(null, { status: 204 }),
    );
    expect(await client(url).call(serviceApi.metrics, {})).toBe("fleet_x 1\n");
    expect(await client(url).call(accessApi.rotateKey, {})).toBeUndefined();
  });
});

describe("a failure", () => {
  test("carries status, code, message, next step and Retry-After", async () => {
    const url = serve(() =>
      Response.json(
        { error: { code: "unavailable", message: "the disk is full" } },
        { status: 503, headers: { "retry-after": "2" } },
      ),
    );
    const error = await client(url)
      .call(accessApi.rotateKey, {})
      .catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ApiError);
    expect(error).toMatchObject({
      status: 503,
      code: "unavailable",
      next: "Check the disk that holds the data directory.",
      retryAfterMs: 2000,
      message: `${url} answers 503 unavailable: the disk is full. Check the disk that holds the data directory.`,
    });
  });

  test("of something else that responds is told apart", async () => {
    const page = serve(() => new Response("<html>", { status: 502 }));
    expect(await health(page)).toEqual({
      at: "refused",
      status: 502,
      code: "unknown",
      message: "",
      retryAfterMs: undefined,
    });
    expect(await health(serve(() => new Response("<html>")))).toEqual({
      at: "unreachable",
      reason: "the answer is not JSON",
    });
    expect(await health(serve(() => Response.json({ hello: 1 })))).toMatchObject({
      at: "malformed",
    });
  });

  test("to connect names the address and not the token", async () => {
    const api = new ApiClient({ url: "http://127.0.0.1:1", token: "secret" });
    const error = await api.call(serviceApi.health, {}).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "unreachable", status: undefined });
    expect(String(error)).toContain("http://127.0.0.1:1 cannot be reached");
    expect(String(error)).not.toContain("secret");
  });
});

test("a response of the largest size is read, a longer one is not", async () => {
  const [size, bytesMax] = [1000, 1000];
  const body = (bytes: number): string => JSON.stringify(HEALTHY).padEnd(bytes);
  const ask = (bytes: number) =>
    new ApiClient({
      url: serve(() => new Response(body(bytes))),
      responseBytesMax: bytesMax,
    }).attempt(serviceApi.health, {});
  expect((await ask(size)).at).toBe("ok");
  expect(await ask(size + 1)).toEqual({
    at: "unreachable",
    reason: "the answer is longer than 1000 bytes",
  });
});

test("a redirect is not followed, so the token goes nowhere else", async () => {
  let elsewhere = 0;
  const other = serve(() => {
    elsewhere++;
    return Response.json(HEALTHY);
  });
  const url = serve(() => Response.redirect(`${other}/healthz`, 307));
  const api = new ApiClient({ url, token: "secret" });
  expect(await api.attempt(serviceApi.health, {})).toMatchObject({ at: "refused", status: 307 });
  expect(elsewhere).toBe(0);
});

test("a body that stops in the middle is given up when the time is over", async () => {
  const clock = new FakeClock();
  const begun = Promise.withResolvers<void>();
  const url = serve(
    () =>
      new Response(
        new ReadableStream({
          pull(controller) {
            controller.enqueue(new TextEncoder().encode("{"));
            begun.resolve();
            return new Promise(() => {});
          },
        }),
      ),
  );
  const api = new ApiClient({ url, clock });
  const reply = api.attempt(serviceApi.health, {}, { timeoutMs: 500 });
  await begun.promise;
  clock.advance(500);
  expect(await reply).toEqual({ at: "unreachable", reason: "no answer within 500 ms" });
  expect(clock.timers).toBe(0);
});

test("over https the given authorities are trusted, and they alone (H5)", async () => {
  const authority = new TestAuthority();
  const at = (pair: TestPair): string => {
    const fetch = (): Response => Response.json(HEALTHY);
    const server = Bun.serve({ hostname: "127.0.0.1", port: 0, tls: pair, fetch });
    servers.push(server);
    return `https://localhost:${server.port}`;
  };
  const ask = (url: string, ca: string | undefined) =>
    new ApiClient({ url, ca, token: "secret" }).attempt(serviceApi.health, {});
  const good = at(authority.issue());
  expect(await ask(good, authority.cert)).toMatchObject({ at: "ok", body: HEALTHY });
  const other = new TestAuthority("Other");
  const bad: readonly (readonly [url: string, ca: string | undefined])[] = [
    [good, undefined],
    [good, other.cert],
    [at(authority.issue({ to: 2021 })), authority.cert],
    [at(authority.issue({ names: ["hill.example"] })), authority.cert],
  ];
  for (const [url, ca] of bad) expect(await ask(url, ca)).toMatchObject({ at: "unreachable" });
  expect(await ask(good, `${other.cert}${authority.cert}`)).toMatchObject({ at: "ok" });
});

test("no connection is kept for the next request, which might find it closed", async () => {
  const ports: (number | undefined)[] = [];
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch(request, self) {
      ports.push(self.requestIP(request)?.port);
      return Response.json(HEALTHY);
    },
  });
  servers.push(server);
  for (let n = 0; n < 3; n++) await health(`http://127.0.0.1:${server.port}`);
  expect(new Set(ports).size).toBe(3);
});

test("events are followed until their stream ends; one that does not open throws", async () => {
  const seen: string[] = [];
  const url = serve((request) => {
    seen.push(request.url.slice(url.length));
    return new Response(": open\n\nevent: node.a.state\ndata: {}\n\n");
  });
  const events = await Array.fromAsync(client(url).follow("node.>"));
  expect(events).toEqual([{ event: "node.a.state", data: "{}" }]);
  expect(seen).toEqual(["/api/v1/events?topic=node.%3E"]);
  const refusing = serve(() =>
    Response.json({ error: { code: "x", message: "" } }, { status: 403 }),
  );
  expect(Array.fromAsync(client(refusing).follow(">"))).rejects.toThrow("answers 403 x");
});
