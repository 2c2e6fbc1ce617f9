import { expect, test } from "bun:test";

test("proxies that the image names never see a request", async () => {
  let proxied = 0;
  using proxy = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch() {
      proxied++;
      return Response.json({});
    },
  });
  using coordinator = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: () => Response.json({ status: "ok", version: "direct" }),
  });
  const url = `http://127.0.0.1:${coordinator.port}`;
  const resolve = (name: string): string => JSON.stringify(Bun.resolveSync(name, import.meta.dir));
  const script = `
    import { takeImageEnvironment } from ${resolve("../process/image-env.ts")};
    import { ApiClient } from ${resolve("@fleet/api-client")};
    import { serviceApi } from ${resolve("@fleet/protocol")};
    takeImageEnvironment(process.env);
    const client = new ApiClient({ url: ${JSON.stringify(url)}, token: "secret" });
    console.log((await client.call(serviceApi.health, {})).version);`;
  const names = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"];
  const address = `http://127.0.0.1:${proxy.port}`;
  const child = Bun.spawn([process.execPath, "-e", script], {
    env: { PATH: "/usr/bin", ...Object.fromEntries(names.map((name) => [name, address])) },
    stdout: "pipe",
    stderr: "inherit",
  });
  expect((await child.stdout.text()).trim()).toBe("direct");
  expect(proxied).toBe(0);
});
