import { afterEach, describe, expect, test } from "bun:test";
import { nodeIdSchema } from "@fleet/protocol";
import type { HealthConfig } from "./config/config.ts";
import { HealthServer } from "./health-server.ts";
import { freePort, recordingLog } from "./testing.ts";

const servers: HealthServer[] = [];
afterEach(() => Promise.all(servers.splice(0).map((server) => server.stop())));

function serve(config: Partial<HealthConfig> = {}, hostname = "radar3.site") {
  const { log, lines } = recordingLog();
  const port = config.port ?? freePort();
  const answer = { node_id: nodeIdSchema.parse("radar3"), version: "1.2.3", status: "registered" };
  const server = new HealthServer({
    config: { host: "127.0.0.1", url: undefined, ...config, port },
    hostname,
    answer: () => answer,
    log,
  });
  servers.push(server);
  server.start();
  return { server, port, lines, answer };
}

describe("/health of an agent (R2)", () => {
  test("names the node and its state, without a token", async () => {
    const { port, answer } = serve();
    const response = await fetch(`http://127.0.0.1:${port}/health?x=1`);
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual(answer);
  });

  test("is all there is, to be read and not to be written", async () => {
    const { port } = serve();
    const status = async (path: string, method = "GET"): Promise<number> =>
      (await fetch(`http://127.0.0.1:${port}${path}`, { method })).status;
    expect(await status("/health", "HEAD")).toBe(200);
    expect(await status("/health", "DELETE")).toBe(405);
    expect(await status("/")).toBe(404);
    expect(await status("/health/x")).toBe(404);
  });

  test("a port that is taken or not permitted is logged, and the agent has no URL", () => {
    const { port } = serve();
    const { server, lines } = serve({ port });
    expect(server.agentUrl).toBeUndefined();
    expect(lines).toMatchObject([
      {
        level: "warn",
        message: "health: could not listen; /health is not served",
        fields: { port },
      },
    ]);
    const elsewhere = serve({ host: "192.0.2.1" });
    expect(elsewhere.server.agentUrl).toBeUndefined();
    expect(elsewhere.lines).toHaveLength(1);
  });

  test("is the configured URL, or one of the address, or of the host name for a wildcard address", () => {
    const url = (config: Partial<HealthConfig>, hostname?: string) => {
      const { server, port } = serve(config, hostname);
      return server.agentUrl?.replace(`:${port}`, ":P");
    };
    expect(url({})).toBe("http://127.0.0.1:P");
    expect(url({ host: "::1" })).toBe("http://[::1]:P");
    expect(url({ host: "0.0.0.0" })).toBe("http://radar3.site:P");
    expect(url({ host: "::" })).toBe("http://radar3.site:P");
    expect(url({ host: "0.0.0.0", url: "https://proxy/" })).toBe("https://proxy/");
    expect(url({ host: "0.0.0.0" }, "radar_3!")).toBeUndefined();
  });

  test("has no address before it is served and after", async () => {
    const { server } = serve();
    await server.stop();
    expect(server.agentUrl).toBeUndefined();
  });
});
