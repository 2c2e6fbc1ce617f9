import { afterEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TestAuthority, type TestPair } from "@fleet/daemon/testing";
import { loadConfig } from "../config/config.ts";
import { health } from "../cli/health.ts";
import { nodeId, until } from "../testing.ts";
import type { TlsFiles } from "../net/tls-files.ts";
import { Api, OPERATOR } from "./testing.ts";

const authority = new TestAuthority();
const other = new TestAuthority("Another");
const dirs: string[] = [];

afterEach(() => {
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true });
});

function tempFiles(pair: TestPair): TlsFiles & { replace(by: TestPair): void; dir: string } {
  const dir = mkdtempSync(join(tmpdir(), "fleet-https-"));
  dirs.push(dir);
  const [cert, key] = [join(dir, "cert.pem"), join(dir, "key.pem")];
  const replace = (by: TestPair): void => {
    writeFileSync(cert, by.cert);
    writeFileSync(key, by.key);
  };
  replace(pair);
  return { cert, key, replace, dir };
}

/** The response of `path` to a client that trusts `ca`; undefined if it does not trust the server. */
async function get(api: Api, path: string, ca: string): Promise<Response | undefined> {
  return fetch(api.url(path), {
    tls: { ca },
    headers: { Authorization: `Bearer ${OPERATOR}` },
  }).catch(() => undefined);
}

describe("HTTP over TLS (H5)", () => {
  test("serves clients that trust its certificate, and none without TLS", async () => {
    await using api = new Api({ tls: tempFiles(authority.issue()) });
    expect((await get(api, "/api/v1/agents", authority.cert))?.status).toBe(200);
    expect(await get(api, "/api/v1/agents", other.cert)).toBeUndefined();
    const clear = fetch(api.url("/healthz").replace("https:", "http:"));
    expect(await clear.then((r) => r.status).catch(() => "refused")).not.toBe(200);
  });

  test("serves an install script with its https address", async () => {
    await using api = new Api({ tls: tempFiles(authority.issue()) });
    const script = await (await get(api, "/install.sh", authority.cert))!.text();
    expect(script).toContain(`coordinator_here='https://127.0.0.1:${api.server.port}'`);
  });

  test("uses a replaced certificate within a minute, while requests in progress continue", async () => {
    const files = tempFiles(authority.issue());
    await using api = new Api({ tls: files });
    const stream = await get(api, "/api/v1/events", authority.cert);
    const reader = (stream!.body as ReadableStream<Uint8Array>).getReader();
    await reader.read();
    files.replace(other.issue());
    api.clock.advance(60_000);
    expect((await get(api, "/healthz", other.cert))?.status).toBe(200);
    expect(await get(api, "/healthz", authority.cert)).toBeUndefined();
    expect(api.log.count("http: new certificate")).toBe(1);
    api.bus.publish({ kind: "node.unblocked", nodeId: nodeId("x"), atMs: 0, data: {} });
    let text = "";
    while (!text.includes("node.x.unblocked"))
      text += new TextDecoder().decode((await reader.read()).value);
    await reader.cancel();
  });

  test("keeps its certificate if the new one is not usable, logs that once, and tries again", async () => {
    const files = tempFiles(authority.issue());
    await using api = new Api({ tls: files });
    writeFileSync(files.cert, "garbage");
    for (let i = 0; i < 3; i++) api.clock.advance(60_000);
    expect((await get(api, "/healthz", authority.cert))?.status).toBe(200);
    const said = api.log.lines.filter(
      (l) => l.message === "http: the new certificate can't be used",
    );
    expect(said.map((l) => l.fields["problem"])).toEqual([
      `http.tls.cert: ${files.cert} holds no certificate in PEM`,
    ]);
    files.replace(other.issue());
    api.clock.advance(60_000);
    await until(() => api.log.count("http: new certificate") === 1);
    expect((await get(api, "/healthz", other.cert))?.status).toBe(200);
  });

  test("with unusable files is a configuration error, reported together with the frame port's", () => {
    const files = tempFiles(authority.issue());
    const path = join(files.dir, "coordinator.yaml");
    const tls = `{ cert: ${files.cert}, key: ${files.dir}/none.pem }`;
    writeFileSync(path, `http: { tls: ${tls} }\ntcp_server: { tls: ${tls} }\n`);
    const problem = `tls.key: ${files.dir}/none.pem can't be read: ENOENT`;
    expect(() => loadConfig(path)).toThrow(
      new RegExp(`http\\.${problem}[^]*tcp_server\\.${problem}`),
    );
  });

  test("is what the health command uses if the configuration says so", async () => {
    const files = tempFiles(authority.issue({ names: ["coordinator"] }));
    await using api = new Api({ tls: files });
    const config = join(files.dir, "coordinator.yaml");
    const at = `host: 127.0.0.1, port: ${api.server.port}`;
    writeFileSync(config, `http: { ${at}, tls: { cert: ${files.cert}, key: ${files.key} } }\n`);
    expect(await health({ config })).toBe(0);
    expect(await health({ url: api.url("") })).toBe(1);
  });
});
