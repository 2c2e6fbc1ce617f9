import { afterEach, expect, test } from "bun:test";
import { FakeClock, TestAuthority, type TestPair } from "@fleet/daemon/testing";
import { certificateProblem } from "./certificate-problem.ts";
import { BODY_BYTES_MAX, CoordinatorClient } from "./coordinator-client.ts";

const servers: Bun.Server<undefined>[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) void server.stop(true);
});

function serve(answer: (request: Request) => Response | Promise<Response>): string {
  const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: answer });
  servers.push(server);
  return `http://127.0.0.1:${server.port}`;
}

const client = (url: string) =>
  new CoordinatorClient({ url, ca: undefined, clock: new FakeClock() });

test("posts JSON below the base address, with the token and the protocol's version", async () => {
  const seen: unknown[] = [];
  const url = serve(async (request) => {
    const { headers } = request;
    seen.push(new URL(request.url).pathname, await request.json());
    seen.push(
      headers.get("authorization"),
      headers.get("x-fleet-protocol-version"),
      headers.get("content-type"),
    );
    return Response.json({ fine: 1 });
  });
  expect(await client(`${url}/base/`).post("agents/x", { a: 1 }, "t")).toMatchObject({
    at: "ok",
    body: { fine: 1 },
  });
  expect(seen).toEqual(["/base/api/v1/agents/x", { a: 1 }, "Bearer t", "1", "application/json"]);
});

test("a refusal gives its code, message and Retry-After; one of another form gives what it can", async () => {
  const url = serve((request) =>
    request.url.endsWith("a")
      ? Response.json(
          { error: { code: "starting", message: "soon" } },
          { status: 503, headers: { "retry-after": "2" } },
        )
      : new Response("<html>", { status: 502 }),
  );
  expect(await client(url).post("a", {}, undefined)).toEqual({
    at: "refused",
    status: 503,
    code: "starting",
    message: "soon",
    retryAfterMs: 2000,
  });
  expect(await client(url).post("b", {}, undefined)).toEqual({
    at: "refused",
    status: 502,
    code: "unknown",
    message: "",
    retryAfterMs: undefined,
  });
});

test("an answer of the largest size is read, a longer one is not", async () => {
  let size = BODY_BYTES_MAX;
  const url = serve(() => new Response(`"${"x".repeat(size - 2)}"`));
  expect((await client(url).post("a", {}, undefined)).at).toBe("ok");
  size++;
  expect(await client(url).post("a", {}, undefined)).toMatchObject({ at: "unreachable" });
});

test("a redirect is not followed, so the token goes nowhere else", async () => {
  let elsewhere = 0;
  const other = serve(() => {
    elsewhere++;
    return Response.json({});
  });
  const url = serve(() => Response.redirect(`${other}/api/v1/a`, 307));
  expect(await client(url).post("a", {}, "secret")).toMatchObject({ at: "refused", status: 307 });
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
  const reply = new CoordinatorClient({ url, ca: undefined, clock }).post("a", {}, undefined, 500);
  await begun.promise;
  clock.advance(500);
  expect(await reply).toMatchObject({ at: "unreachable", reason: "no answer within 500 ms" });
  expect(clock.timers).toBe(0);
});

test("over https the coordinator is believed by the file that names its authority, and by it alone (H5)", async () => {
  const authority = new TestAuthority();
  const at = (pair: TestPair): string => {
    const server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      tls: pair,
      fetch: () => Response.json({ fine: 1 }),
    });
    servers.push(server);
    return `https://localhost:${server.port}`;
  };
  const ask = (url: string, ca: string | undefined) =>
    new CoordinatorClient({ url, ca, clock: new FakeClock() }).post("a", {}, "secret");
  const good = at(authority.issue());
  expect(await ask(good, authority.cert)).toMatchObject({ at: "ok", body: { fine: 1 } });
  const other = new TestAuthority("Other");
  const bad: readonly (readonly [url: string, ca: string | undefined, found: string])[] = [
    [good, undefined, "is not signed by an authority that the agent trusts"],
    [good, other.cert, "is not signed by an authority that the agent trusts"],
    [at(authority.issue({ to: 2021 })), authority.cert, "has expired"],
    [at(authority.issue({ names: ["hill.example"] })), authority.cert, "is for another host name"],
  ];
  for (const [url, ca, found] of bad) {
    const reply = await ask(url, ca);
    if (reply.at !== "unreachable") throw new Error("it was believed");
    expect(certificateProblem(reply.reason)?.found).toBe(found);
  }
  expect(await ask(good, `${other.cert}${authority.cert}`)).toMatchObject({ at: "ok" });
});

test("no connection is kept for the next request, which might find it closed", async () => {
  const ports: (number | undefined)[] = [];
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch(request, self) {
      ports.push(self.requestIP(request)?.port);
      return Response.json({});
    },
  });
  servers.push(server);
  const asker = client(`http://127.0.0.1:${server.port}`);
  for (let n = 0; n < 3; n++) await asker.post("a", {}, undefined);
  expect(new Set(ports).size).toBe(3);
});

test("proxies that the image names never see a request", async () => {
  let proxied = 0;
  const proxy = serve(() => {
    proxied++;
    return Response.json({});
  });
  const url = serve(() => Response.json({ direct: true }));
  const script = `
    import { takeImageEnvironment } from ${JSON.stringify(`${import.meta.dir}/../process/image-env.ts`)};
    import { CoordinatorClient } from ${JSON.stringify(`${import.meta.dir}/coordinator-client.ts`)};
    import { systemClock } from ${JSON.stringify(Bun.resolveSync("@fleet/daemon", import.meta.dir))};
    takeImageEnvironment(process.env);
    const client = new CoordinatorClient({ url: ${JSON.stringify(url)}, ca: undefined, clock: systemClock });
    console.log(JSON.stringify((await client.post("a", {}, "secret")).body));`;
  const names = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"];
  const child = Bun.spawn([process.execPath, "-e", script], {
    env: { PATH: "/usr/bin", ...Object.fromEntries(names.map((name) => [name, proxy])) },
    stdout: "pipe",
    stderr: "inherit",
  });
  expect((await child.stdout.text()).trim()).toBe('{"direct":true}');
  expect(proxied).toBe(0);
});
