import { describe, expect, test } from "bun:test";
import { until } from "../testing.ts";
import { ACCESS } from "./middleware/access.ts";
import { Api, ENROLL, OPERATOR } from "./testing.ts";

const REGISTER = "/api/v1/agents/register";
const BODY_BYTES_MAX = 256 * 1024;
const routes = Object.keys(ACCESS).map((route) => {
  const [method = "", path = ""] = route.split(" ");
  return { method, path: path.replaceAll(/:\w+/g, "nobody") };
});

async function refusal(api: Api, body: string | Uint8Array<ArrayBuffer>): Promise<string> {
  const response = await fetch(api.url(REGISTER), {
    method: "POST",
    headers: { Authorization: `Bearer ${ENROLL}`, "X-Fleet-Protocol-Version": "1" },
    body,
  });
  const { error } = (await response.json()) as { error: { code: string; message: string } };
  expect([response.status, error.code]).toEqual([400, "bad_request"]);
  return error.message;
}

describe("every route (H5)", () => {
  test("sends the security headers with every response, and no-store unless it says otherwise", async () => {
    await using api = new Api();
    const paths = [
      ...routes,
      { method: "GET", path: "/nothing" },
      { method: "PATCH", path: "/docs" },
    ];
    for (const { method, path } of paths) {
      const response = await fetch(api.url(path), { method });
      const { headers } = response;
      expect([path, headers.get("X-Content-Type-Options")]).toEqual([path, "nosniff"]);
      expect([path, headers.get("X-Frame-Options")]).toEqual([path, "SAMEORIGIN"]);
      expect([path, headers.get("Referrer-Policy")]).toEqual([path, "no-referrer"]);
      expect([path, headers.get("Cache-Control")]).toEqual([path, "no-store"]);
    }
  });

  test("refuses a stranger before it has read the body (H12)", async () => {
    await using api = new Api();
    for (const { method, path } of [...routes, { method: "POST", path: "/nowhere" }]) {
      if (method === "GET" || path === "/api/v1/agent/binary" || path === "/api/v1/agent/info")
        continue;
      const status = await statusBeforeEnd(api, method, path, 1000);
      expect([method, path, [400, 401, 404].includes(status)]).toEqual([method, path, true]);
    }
    // A download's token may be in the body, of which 8 KiB are read.
    for (const path of ["/api/v1/agent/binary?arch=x86_64", "/api/v1/agent/info"])
      expect(await statusBeforeEnd(api, "POST", path, 9000)).toBe(401);
  });

  test("refuses a body over 256 KiB, with or without a Content-Length", async () => {
    await using api = new Api();
    const headers = { "X-Fleet-Protocol-Version": "1" };
    for (const [path, token] of [
      ["/api/v1/agents/register", ENROLL],
      ["/api/nodes/register", ENROLL],
      ["/api/v1/tokens", OPERATOR],
    ] as const) {
      const authorized = { ...headers, Authorization: `Bearer ${token}` };
      const long = "x".repeat(BODY_BYTES_MAX + 1);
      const told = await fetch(api.url(path), { method: "POST", body: long, headers: authorized });
      expect([path, told.status]).toEqual([path, 413]);
      const chunks = new ReadableStream({
        start(controller) {
          for (let n = 0; n < 5; n++) controller.enqueue(new Uint8Array(BODY_BYTES_MAX / 4));
          controller.close();
        },
      });
      const untold = await fetch(api.url(path), {
        method: "POST",
        body: chunks,
        headers: authorized,
      });
      expect([path, untold.status]).toEqual([path, 413]);
    }
  });

  test("answers HEAD as GET without the body, and opens no event stream for it", async () => {
    await using api = new Api();
    const { access_token } = await api.register("radar3");
    const timers = api.clock.timers;
    for (const { path } of routes.filter((r) => r.method === "GET")) {
      const isNode = ACCESS[`GET ${path.replace("nobody", ":id")}`] === "agent";
      const headers = {
        Authorization: `Bearer ${isNode ? access_token : OPERATOR}`,
        "X-Fleet-Protocol-Version": "1",
      };
      const url = api.url(path.replace("nobody", "radar3"));
      const head = await fetch(url, { method: "HEAD", headers });
      expect([path, await head.text()]).toEqual([path, ""]);
      const abort = new AbortController();
      const get = await fetch(url, { headers, signal: abort.signal });
      const type = get.headers.get("Content-Type");
      expect([path, head.status, head.headers.get("Content-Type")]).toEqual([
        path,
        get.status,
        type,
      ]);
      abort.abort();
    }
    await until(() => api.bus.isIdle && api.clock.timers === timers && api.streams.size === 0);
  });

  test("lists its methods for an unsupported one and for OPTIONS, but not for a path that does not exist", async () => {
    await using api = new Api();
    const ask = async (method: string, path: string): Promise<unknown[]> => {
      const { status, headers } = await api.call(method, path);
      return [status, headers.get("Allow")];
    };
    expect(await ask("PUT", "/api/v1/agents")).toEqual([405, "GET, HEAD, OPTIONS"]);
    expect(await ask("PATCH", "/api/v1/agents/a")).toEqual([405, "GET, HEAD, DELETE, OPTIONS"]);
    expect(await ask("GET", "/api/v1/agents/a/heartbeat")).toEqual([405, "POST, OPTIONS"]);
    expect(await ask("OPTIONS", "/api/v1/blocked-nodes/a")).toEqual([204, "PUT, DELETE, OPTIONS"]);
    expect(await ask("OPTIONS", "/api/v1/nothing")).toEqual([404, null]);
    expect(await ask("POST", "/api/v2/agents")).toEqual([404, null]);
    const { status, body } = await api.call("PUT", "/healthz");
    expect([status, body]).toMatchObject([405, { error: { code: "method_not_allowed" } }]);
  });
});

test("an agent's request without the protocol version is told which one is spoken", async () => {
  await using api = new Api();
  for (const [method, path] of [
    ["POST", REGISTER],
    ["GET", "/api/v1/agents/radar3/events"],
  ]) {
    const response = await fetch(api.url(path!), { method: method! });
    const message = "X-Fleet-Protocol-Version is missing; this coordinator speaks version 1";
    expect([response.status, await response.json()]).toEqual([
      400,
      { error: { code: "bad_protocol", message } },
    ]);
  }
});

describe("a body", () => {
  test("that is not JSON is refused with the parser's message", async () => {
    await using api = new Api();
    expect(await refusal(api, "")).toBe("the body is empty; it must be JSON");
    expect(await refusal(api, "{")).toBe("the body is not JSON: Expected '}'");
    expect(await refusal(api, '{"node_id":x}')).toContain('Unexpected identifier "x"');
    expect(await refusal(api, `{"node_id":${"x".repeat(1000)}}`)).toHaveLength(122);
    expect(await refusal(api, "null")).toBe("body: Invalid input: expected object, received null");
    expect(await refusal(api, Uint8Array.of(0x22, 0xff, 0x22))).toBe("the body is not UTF-8");
  });

  test("is parsed as JSON whatever its Content-Type; the last of repeated keys counts, unknown keys are ignored", async () => {
    await using api = new Api();
    const body = `\u{FEFF}{"node_id":"../x","instance_id":"i1","version":"1","node_id":"hill","later":{"a":1},"__proto__":{"group":"x"}}`;
    for (const type of ["application/x-www-form-urlencoded", "text/plain", "nonsense"]) {
      const headers = { "Content-Type": type };
      const { status } = await api.call("POST", REGISTER, { token: ENROLL, body, headers });
      expect(status).toBe(200);
    }
    expect(api.registry.list().map(({ id, row }) => [id as string, row.group])).toEqual([
      ["hill", null],
    ]);
  });

  test("that is deeply nested or wide is refused, and nothing else suffers", async () => {
    await using api = new Api();
    const half = BODY_BYTES_MAX / 2 - 100;
    const deep = "[".repeat(half) + "]".repeat(half);
    expect(await refusal(api, deep)).toContain("expected object");
    const nested = `{"labels":${deep},"node_id":"a"}`;
    expect(await refusal(api, nested)).toContain("labels: Invalid input");
    const wide = `{${Array.from({ length: 20_000 }, (_, n) => `"k${n}":1`).join(",")}}`;
    expect(await refusal(api, wide)).toContain("node_id: Invalid input");
    const labels = JSON.stringify(
      Object.fromEntries(Array.from({ length: 65 }, (_, n) => [n, ""])),
    );
    const many = `{"node_id":"a","instance_id":"i","version":"1","labels":${labels}}`;
    expect(await refusal(api, many)).toBe("labels: at most 64 labels");
    expect((await fetch(api.url("/healthz"))).status).toBe(200);
  });
});

/** The status of a request whose chunked body has `bytes` bytes so far, and no end. */
async function statusBeforeEnd(
  api: Api,
  method: string,
  path: string,
  bytes: number,
): Promise<number> {
  const { hostname, port } = new URL(api.url("/"));
  const status = Promise.withResolvers<number>();
  const socket = await Bun.connect({
    hostname,
    port: Number(port),
    socket: {
      data: (_socket, data) => status.resolve(Number(data.toString("latin1").split(" ")[1])),
      close: () => status.reject(new Error("closed without an answer")),
    },
  });
  const head = `${method} ${path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n`;
  socket.write(`${head}${bytes.toString(16)}\r\n${"x".repeat(bytes)}\r\n`);
  try {
    return await status.promise;
  } finally {
    socket.terminate();
  }
}
