import { ApiClient } from "@fleet/api-client";
import { afterEach, describe, expect, test } from "bun:test";
import { FakeClock } from "@fleet/daemon/testing";
import { eventually } from "../testing.ts";
import type { Check } from "./check.ts";
import { ANSWER_MS_MAX, checkCoordinator, type CoordinatorFound } from "./check-coordinator.ts";

const open: { stop(now: boolean): unknown }[] = [];

afterEach(() => {
  for (const server of open.splice(0)) void server.stop(true);
});

function serve(answer: () => Response): string {
  const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: answer });
  open.push(server);
  return `http://127.0.0.1:${server.port}`;
}

/** A port whose server calls `onData` for every connection that sends data. */
function listen(onData: (socket: Bun.Socket) => void): string {
  const listener = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: { data: (socket) => onData(socket) },
  });
  open.push(listener);
  return `http://127.0.0.1:${listener.port}`;
}

function freePort(): number {
  const listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => {} } });
  const { port } = listener;
  listener.stop(true);
  return port;
}

function check(
  url: string,
  clock = new FakeClock(),
  env: Readonly<Record<string, string>> = {},
): Promise<CoordinatorFound> {
  return checkCoordinator({
    url,
    client: new ApiClient({ url, clock }),
    env,
    clock,
  });
}

async function failure(url: string): Promise<Check> {
  const found = await check(url);
  expect(found.health).toBeUndefined();
  expect(found.check).toMatchObject({ id: "coordinator", status: "fail", subject: url });
  return found.check;
}

const healthy = (): Response => Response.json({ status: "ok", version: "1.2.3" });

describe("the coordinator (A9)", () => {
  test("that answers is named with its version, address and time", async () => {
    const url = serve(healthy);
    const { check: found, health } = await check(url);
    expect(found).toMatchObject({ status: "ok", subject: url });
    expect(found.message).toContain("version 1.2.3 at 127.0.0.1");
    expect(found.data).toMatchObject({ version: "1.2.3", address: "127.0.0.1" });
    expect(health?.serverDateMs).toBeGreaterThan(0);
  });

  test("is looked for under its path too", async () => {
    const paths: string[] = [];
    const server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: (request) => {
        paths.push(new URL(request.url).pathname);
        return healthy();
      },
    });
    open.push(server);
    await check(`http://127.0.0.1:${server.port}/fleet`);
    expect(paths).toEqual(["/fleet/healthz"]);
  });

  test("whose port nobody listens on refuses", async () => {
    const port = freePort();
    const { message, remedy, data } = await failure(`http://127.0.0.1:${port}`);
    expect(message).toBe(`127.0.0.1 port ${port} refuses the connection`);
    expect(remedy).toContain("Start the coordinator");
    expect(data).toMatchObject({ code: "ECONNREFUSED" });
  });

  test("with an unknown name is distinguished from a name server that does not answer", async () => {
    const { message, data } = await failure("http://host.invalid:7700");
    expect(message).toMatch(/^host\.invalid: (unknown host|no name server answers)/);
    expect(["ENOTFOUND", "EAI_AGAIN"]).toContain((data as { code: string }).code);
  });

  test("that can't be reached is reported with the proxies of the image, which are not used", async () => {
    const url = `http://127.0.0.1:${freePort()}`;
    const env = { HTTP_PROXY: "http://user:secret@proxy:1", no_proxy: "x", https_proxy: "" };
    const { check: found } = await check(url, new FakeClock(), env);
    expect(found.message).toContain("HTTP_PROXY of this image is not used");
    expect(found.message).not.toContain("https_proxy");
    expect(JSON.stringify(found)).not.toContain("secret");
  });

  test.each([
    ["another service", () => Response.json({ hello: 1 }), "not a Fleet coordinator"],
    ["a page", () => new Response("<html>"), "then the answer is not JSON"],
    ["one that knows no /healthz", () => new Response("", { status: 404 }), "answers 404"],
    ["a gateway", () => new Response("", { status: 502 }), "in front of the coordinator"],
    ["a redirect", () => Response.redirect("http://127.0.0.1:1/", 301), "a redirect"],
    ["a proxy", () => new Response("", { status: 407 }), "a proxy answers"],
  ])("is not %s", async (_what, answer, text) => {
    const { message } = await failure(serve(answer));
    expect(message).toContain(text);
  });

  test("is not one that ends every connection", async () => {
    const { message } = await failure(listen((socket) => socket.end()));
    expect(message).toContain("not HTTP");
  });

  test("that does not speak TLS is reported as such if TLS is configured", async () => {
    const url = serve(healthy).replace("http:", "https:");
    const { message, remedy } = await failure(url);
    expect([message, remedy]).toEqual(["does not speak TLS", "Write http:// instead of https://"]);
  });

  test("that says nothing is given up in the end", async () => {
    let asked = false;
    const url = listen(() => void (asked = true));
    const clock = new FakeClock();
    const found = check(url, clock);
    await eventually(() => asked, "the request");
    clock.advance(ANSWER_MS_MAX);
    expect((await found).check.message).toContain(`then no answer within ${ANSWER_MS_MAX} ms`);
  });
});

test.each([
  ["CERT_HAS_EXPIRED", "has expired"],
  ["ERR_TLS_CERT_ALTNAME_INVALID", "is for another host name"],
  ["DEPTH_ZERO_SELF_SIGNED_CERT", "not signed by an authority that the agent trusts"],
])("the certificate problem %s is put into words (A9)", async (reason, text) => {
  const url = serve(healthy);
  const clock = new FakeClock();
  const client = { attempt: () => Promise.resolve({ at: "unreachable", reason } as const) };
  const { check: found } = await checkCoordinator({ url, client, env: {}, clock });
  expect(found.message).toContain(text);
});
