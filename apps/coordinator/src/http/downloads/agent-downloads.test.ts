import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { agentInfoSchema } from "@fleet/protocol";
import { until } from "../../testing.ts";
import { Api, ENROLL, OPERATOR, PUSH } from "../testing.ts";

const BINARY = "/api/v1/agent/binary";
const INFO = "/api/v1/agent/info";
const TOKEN = { "X-Fleet-Agent-Token": ENROLL };
/** More than the sockets buffer. */
const LARGE_BYTES = 24 * 1024 ** 2;

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "downloads-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function put(content: string | Buffer, arch = "x86_64"): string {
  mkdirSync(join(dir, arch), { recursive: true });
  writeFileSync(join(dir, arch, "new"), content);
  renameSync(join(dir, arch, "new"), join(dir, arch, "fleet-agent"));
  return createHash("sha256").update(content).digest("hex");
}

function get(api: Api, query: string, headers: Record<string, string> = TOKEN): Promise<Response> {
  return fetch(api.url(`${BINARY}${query}`), { headers });
}

async function codeOf(response: Response): Promise<unknown> {
  return ((await response.json()) as { error: { code: unknown } }).error.code;
}

/** A client that sends a request and never reads the response. */
function stalled(api: Api): Socket {
  const socket = connect(api.server.port, "127.0.0.1");
  socket.pause();
  socket.on("error", () => {});
  socket.write(
    `GET ${BINARY}?arch=x86_64 HTTP/1.1\r\nHost: x\r\nX-Fleet-Agent-Token: ${ENROLL}\r\n\r\n`,
  );
  return socket;
}

describe("GET /agent/binary (H8)", () => {
  test("sends the file with its length, sha256, ETag and version, under both names of a processor", async () => {
    const content = "x// fleet-version 1.2.3\n";
    const sha256 = put(content);
    await using api = new Api({ dir });
    for (const arch of ["x86_64", "amd64"]) {
      const response = await get(api, `?arch=${arch}`);
      expect(response.status).toBe(200);
      expect(Object.fromEntries(response.headers)).toMatchObject({
        "content-length": String(content.length),
        "content-type": "application/octet-stream",
        "content-disposition": 'attachment; filename="fleet-agent"',
        "accept-ranges": "bytes",
        etag: `"${sha256}"`,
        "x-fleet-agent-sha256": sha256,
        "x-fleet-agent-version": "1.2.3",
      });
      expect(await response.text()).toBe(content);
    }
  });

  test("accepts the enrolment token in its header or as the body of a POST, and an operator token (H5)", async () => {
    put("agent");
    await using api = new Api({ dir });
    const { access_token } = await api.register("radar3");
    const wrong: Record<string, string>[] = [
      {},
      { "X-Fleet-Agent-Token": "" },
      { "X-Fleet-Agent-Token": "x" },
      { "X-Fleet-Agent-Token": PUSH },
      { "X-Fleet-Agent-Token": OPERATOR },
      { Authorization: `Bearer ${ENROLL}` },
      { Authorization: `Bearer ${access_token}` },
    ];
    for (const headers of wrong) {
      for (const path of [`${BINARY}?arch=x86_64`, BINARY, INFO]) {
        const response = await fetch(api.url(path), { headers });
        expect([response.status, await codeOf(response)]).toEqual([401, "unauthorized"]);
      }
    }
    const operator = { Authorization: `Bearer ${OPERATOR}` };
    expect((await get(api, "?arch=x86_64", operator)).status).toBe(200);
    const post = (body: string): Promise<Response> =>
      fetch(api.url(`${BINARY}?arch=x86_64`), { method: "POST", body });
    expect(await (await post(`${ENROLL}\n`)).text()).toBe("agent");
    expect((await post("x")).status).toBe(401);
  });

  test("refuses a missing or unknown processor and names the known ones; one without an agent is 404", async () => {
    put("agent");
    await using api = new Api({ dir });
    for (const query of ["", "?arch=", "?arch=mips", "?arch=../x86_64"]) {
      const response = await get(api, query);
      expect(response.status).toBe(400);
      expect(await response.text()).toContain("x86_64, aarch64 (or amd64, arm64)");
    }
    const other = await get(api, "?arch=arm64");
    expect([other.status, await codeOf(other)]).toEqual([404, "unknown_arch"]);
  });

  test("is 503 with Retry-After if no agents are offered or the directory is gone", async () => {
    await using none = new Api();
    await using gone = new Api({ dir: join(dir, "gone") });
    for (const api of [none, gone]) {
      const response = await get(api, "?arch=x86_64");
      expect([response.status, await codeOf(response)]).toEqual([503, "no_downloads"]);
      expect(response.headers.get("Retry-After")).toBe("5");
      expect((await fetch(api.url(INFO), { headers: TOKEN })).status).toBe(503);
    }
  });

  test("is 304 if If-None-Match matches", async () => {
    const sha256 = put("agent");
    await using api = new Api({ dir });
    for (const known of [`"${sha256}"`, `"x", W/"${sha256}"`, "*"]) {
      const response = await get(api, "?arch=x86_64", { ...TOKEN, "If-None-Match": known });
      expect([response.status, await response.text()]).toEqual([304, ""]);
      expect(response.headers.get("ETag")).toBe(`"${sha256}"`);
    }
    const other = await get(api, "?arch=x86_64", { ...TOKEN, "If-None-Match": '"x"' });
    expect(other.status).toBe(200);
  });

  test("sends the requested range if If-Range still matches the file", async () => {
    const sha256 = put("0123456789");
    await using api = new Api({ dir });
    const ranged = async (headers: Record<string, string>): Promise<unknown[]> => {
      const response = await get(api, "?arch=x86_64", { ...TOKEN, ...headers });
      const { status } = response;
      return [status, response.headers.get("Content-Range"), await response.text()];
    };
    expect(await ranged({ Range: "bytes=2-4" })).toEqual([206, "bytes 2-4/10", "234"]);
    expect(await ranged({ Range: "bytes=-3" })).toEqual([206, "bytes 7-9/10", "789"]);
    expect(await ranged({ Range: "bytes=8-", "If-Range": `"${sha256}"` })).toEqual([
      206,
      "bytes 8-9/10",
      "89",
    ]);
    const whole = [200, null, "0123456789"];
    for (const ifRange of ['"x"', "Sat, 21 Nov 2026 14:00:00 GMT"])
      expect(await ranged({ Range: "bytes=8-", "If-Range": ifRange })).toEqual(whole);
    expect(await ranged({ Range: "bytes=0-1,4-5" })).toEqual(whole);
    expect(await ranged({ Range: "bytes=10-" })).toEqual([416, "bytes */10", ""]);
  });

  test("answers HEAD as GET, without the file", async () => {
    const sha256 = put("agent");
    await using api = new Api({ dir });
    const response = await fetch(api.url(`${BINARY}?arch=x86_64`), {
      method: "HEAD",
      headers: TOKEN,
    });
    expect([response.status, response.headers.get("Content-Length")]).toEqual([200, "5"]);
    expect(response.headers.get("X-Fleet-Agent-Sha256")).toBe(sha256);
    expect(await response.text()).toBe("");
  });

  test("sends the file that the ETag names, even if it is replaced meanwhile", async () => {
    const old = put(Buffer.alloc(LARGE_BYTES, "a"));
    await using api = new Api({ dir });
    const response = await get(api, "?arch=x86_64");
    put(Buffer.alloc(LARGE_BYTES, "b"));
    const sent = createHash("sha256").update(new Uint8Array(await response.arrayBuffer()));
    expect([response.headers.get("ETag"), sent.digest("hex")]).toEqual([`"${old}"`, old]);
  });

  test("is not delayed by clients that do not read, up to the limit; then 503, until one leaves", async () => {
    put(Buffer.alloc(LARGE_BYTES));
    await using api = new Api({ dir, max: 3 });
    const sockets = [stalled(api), stalled(api)];
    await until(() => api.downloads.count === 2);
    const served = await get(api, "?arch=x86_64");
    expect((await served.arrayBuffer()).byteLength).toBe(LARGE_BYTES);
    const left = (count: number): Promise<void> =>
      until(
        () => api.downloads.count === count,
        () => api.clock.advance(1000),
      );
    await left(2);
    sockets.push(stalled(api));
    await left(3);
    const refused = await get(api, "?arch=x86_64");
    expect([refused.status, await codeOf(refused)]).toEqual([503, "too_many_downloads"]);
    expect(refused.headers.get("Retry-After")).toBe("5");
    expect((await fetch(api.url("/healthz"))).status).toBe(200);
    sockets.pop()!.destroy();
    await left(2);
    expect((await get(api, "?arch=x86_64")).status).toBe(200);
    for (const socket of sockets) socket.destroy();
    await left(0);
  });

  test("is logged with client and status, never with the token, and counted by status (H4)", async () => {
    put("agent");
    await using api = new Api({ dir });
    await get(api, "?arch=x86_64");
    await get(api, "?arch=x86_64", { "X-Fleet-Agent-Token": "wrong-token" });
    const lines = api.log.lines.filter((l) => l.message === "agent download");
    expect(lines.map(({ level, fields }) => [level, fields])).toEqual([
      ["info", { peer: "127.0.0.1", arch: "x86_64", status: 200 }],
      ["debug", { peer: "127.0.0.1", arch: "x86_64", status: 401 }],
    ]);
    expect(JSON.stringify(api.log.lines)).not.toMatch(`${ENROLL}|wrong-token`);
    const metrics = String((await api.call("GET", "/metrics")).body);
    expect(metrics).toContain('fleet_agent_downloads_total{status="200"} 1');
    expect(metrics).toContain('fleet_agent_downloads_total{status="401"} 1');
  });
});

test("GET /agent/info lists the available agents (H8)", async () => {
  const [x86, arm] = [put("one// fleet-version 1.2.3\n"), put("two", "aarch64")];
  await using api = new Api({ dir });
  const response = await fetch(api.url(INFO), { headers: TOKEN });
  expect(agentInfoSchema.strict().parse(await response.json())).toEqual({
    agents: [
      { arch: "x86_64", version: "1.2.3", bytes: 26, sha256: x86 },
      { arch: "aarch64", version: null, bytes: 3, sha256: arm },
    ],
  });
});

describe("GET /install.sh (H8)", () => {
  const addressIn = (script: string): string | undefined =>
    /^coordinator_here='([^'\n]*)'$/m.exec(script)?.[1];

  test("contains the address it was requested at, and needs no token", async () => {
    await using api = new Api();
    const ask = async (headers: Record<string, string>): Promise<string | undefined> =>
      addressIn(await (await fetch(api.url("/install.sh"), { headers })).text());
    expect(await ask({ Host: "fleet.example:7700" })).toBe("http://fleet.example:7700");
    expect(await ask({ Host: "[fd00::1]:7700" })).toBe("http://[fd00::1]:7700");
    expect(await ask({ Host: "a", "X-Forwarded-Proto": "https" })).toBe("https://a");
    expect(await ask({ Host: "a", "X-Forwarded-Proto": "ftp';x'" })).toBe("http://a");
  });

  test("contains no address if the Host is not one, so that no foreign text reaches a shell", async () => {
    await using api = new Api();
    for (const host of [
      "a'b",
      "a$(id)",
      "a b",
      "a;b",
      "a/b",
      "a\\",
      "-a",
      "a:x",
      "a:123456",
      "$&",
    ]) {
      const reply = await new Promise<string>((resolve) => {
        let text = "";
        const socket = connect(api.server.port, "127.0.0.1");
        socket.on("data", (chunk) => (text += chunk.toString()));
        socket.on("close", () => resolve(text));
        socket.write(`GET /install.sh HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
      });
      if (reply.startsWith("HTTP/1.1 200")) expect([host, addressIn(reply)]).toEqual([host, ""]);
      else expect(reply).toMatch(/^HTTP\/1\.1 40[04] /);
    }
  });
});
