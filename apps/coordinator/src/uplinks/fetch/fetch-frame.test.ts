import { afterAll, describe, expect, test } from "bun:test";
import { systemClock } from "@fleet/daemon";
import { TestAuthority } from "@fleet/daemon/testing";
import { LINE_BYTES_MAX } from "@fleet/protocol";
import { Resolver } from "../../net/resolver.ts";
import { fetchFrame, type Fetched } from "./fetch-frame.ts";

const FRAME = { timestamp: 5, delay: [1.5], doppler: [-2], snr: [9], adsb: [null] };
const resolver = new Resolver(systemClock);
const never = new AbortController().signal;

let answer: (request: Request) => Response = () => new Response();
const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: (request) => answer(request) });
afterAll(() => server.stop(true));

async function asked(
  reply: string | ((request: Request) => Response),
  authorization?: string,
): Promise<Fetched> {
  answer = typeof reply === "string" ? () => new Response(reply) : reply;
  return fetchFrame(
    resolver,
    { href: `http://127.0.0.1:${server.port}/d?key=k`, authorization, ca: undefined },
    never,
  );
}

function textOf(fetched: Fetched): string {
  return fetched.at === "frame" ? new TextDecoder().decode(fetched.frame.bytes) : fetched.problem;
}

describe("a fetched frame (T7)", () => {
  test("is one ASCII line, however the server wrote it, and keeps unknown keys", async () => {
    const written = JSON.stringify({ ...FRAME, site: "Zürich" }, null, 2);
    const fetched = await asked(`\n${written}\n\n`);
    expect(textOf(fetched)).toBe(
      `${JSON.stringify({ ...FRAME, site: "Z#rich" }).replace("#", "\\u00fc")}\n`,
    );
    expect(fetched).toMatchObject({ at: "frame", frame: { timestampMs: 5 } });
  });

  test("is requested with the credentials of the config and nothing else of ours", async () => {
    let seen: Record<string, string | null> = {};
    const reply = ({ method, url, headers }: Request): Response => {
      const header = (name: string): string | null => headers.get(name);
      seen = {
        method,
        query: new URL(url).search,
        authorization: header("authorization"),
        accept: header("accept"),
        encoding: header("accept-encoding"),
      };
      return Response.json(FRAME);
    };
    await asked(reply, "Basic eDp5");
    const plain = {
      method: "GET",
      query: "?key=k",
      accept: "application/json",
      encoding: "identity",
    };
    expect(seen).toEqual({ ...plain, authorization: "Basic eDp5" });
    await asked(reply);
    expect(seen).toEqual({ ...plain, authorization: null });
  });

  test.each([
    ["", "bad_json"],
    ["<html>", "bad_json"],
    [`${JSON.stringify(FRAME)}\n${JSON.stringify(FRAME)}`, "bad_json"],
    ["[]", "not_an_object"],
    ["{}", "bad_timestamp"],
    [JSON.stringify({ ...FRAME, delay: [1, 2] }), "ragged_arrays"],
    [JSON.stringify({ ...FRAME, snr: [null] }), "bad_arrays"],
    [JSON.stringify({ ...FRAME, adsb: [1] }), "bad_adsb"],
  ])("is none when the answer is %j: %s", async (body, problem) => {
    expect(await asked(body)).toEqual({ at: "refused", problem } as Fetched);
  });

  test("is not taken from a response other than 200, and no other host is asked instead", async () => {
    for (const status of [204, 401, 404, 500, 503])
      expect(await asked(() => new Response(null, { status }))).toEqual({
        at: "refused",
        problem: "bad_status",
        detail: `status ${status}`,
      });
    let others = 0;
    const other = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: () => {
        others++;
        return Response.json(FRAME);
      },
    });
    const redirect = await asked(() => Response.redirect(`http://127.0.0.1:${other.port}/`, 302));
    expect(redirect).toEqual({ at: "refused", problem: "redirected", detail: "status 302" });
    expect(others).toBe(0);
    await other.stop(true);
  });

  test("is at most as long as a line, announced or not, compressed or not", async () => {
    const body = (bytes: number): string => {
      const rest = JSON.stringify({ ...FRAME, pad: "" });
      return JSON.stringify({ ...FRAME, pad: "x".repeat(bytes - rest.length) });
    };
    expect((await asked(body(LINE_BYTES_MAX - 1))).at).toBe("frame");
    // It has to end with its LF.
    expect(textOf(await asked(body(LINE_BYTES_MAX)))).toBe("too_long");
    expect(textOf(await asked(body(LINE_BYTES_MAX + 1)))).toBe("too_long");
    let sent = 0;
    const endless = new ReadableStream({
      pull(controller) {
        sent++;
        controller.enqueue(new Uint8Array(64 * 1024).fill(32));
      },
    });
    expect(textOf(await asked(() => new Response(endless)))).toBe("too_long");
    expect(sent).toBeLessThan(200);
    const zipped = Bun.gzipSync(body(10_000));
    const headers = { "content-encoding": "gzip" };
    expect(textOf(await asked(() => new Response(zipped, { headers })))).toBe("encoded");
  });

  test("is missing when there is no response, it breaks off, or the fetch is aborted", async () => {
    const closed = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    closed.stop(true);
    const refused = {
      href: `http://127.0.0.1:${closed.port}/`,
      authorization: undefined,
      ca: undefined,
    };
    expect(await fetchFrame(resolver, refused, never)).toMatchObject({
      at: "refused",
      problem: "unreachable",
    });

    const half = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        data(socket) {
          socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"timestamp":1`);
          socket.end();
        },
      },
    });
    const broken = {
      href: `http://127.0.0.1:${half.port}/`,
      authorization: undefined,
      ca: undefined,
    };
    expect((await fetchFrame(resolver, broken, never)).at).toBe("refused");
    half.stop(true);

    const silent = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: { data: () => stop.abort() },
    });
    const stop = new AbortController();
    const waiting = {
      href: `http://127.0.0.1:${silent.port}/`,
      authorization: undefined,
      ca: undefined,
    };
    expect((await fetchFrame(resolver, waiting, stop.signal)).at).toBe("refused");
    silent.stop(true);
  });

  test("is missing when the fetch is aborted during an endless response", async () => {
    const stop = new AbortController();
    let parts = 0;
    const endless = new ReadableStream({
      pull(controller) {
        if (++parts > 2) {
          stop.abort();
          return new Promise<void>(() => {});
        }
        controller.enqueue(new Uint8Array(10).fill(32));
        return undefined;
      },
    });
    answer = () => new Response(endless);
    const href = `http://127.0.0.1:${server.port}/`;
    const fetched = await fetchFrame(
      resolver,
      { href, authorization: undefined, ca: undefined },
      stop.signal,
    );
    expect(fetched.at).toBe("refused");
  });

  test("is taken over TLS only from a server that the configured CA has signed", async () => {
    const authority = new TestAuthority();
    const secure = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      tls: authority.issue({ names: ["127.0.0.1"] }),
      fetch: () => Response.json(FRAME),
    });
    const at = async (ca: string | undefined, host: string): Promise<string> => {
      const href = `https://${host}:${secure.port}/`;
      const fetched = await fetchFrame(resolver, { href, authorization: undefined, ca }, never);
      return fetched.at === "frame" ? "frame" : `${fetched.problem} ${fetched.detail}`;
    };
    expect(await at(authority.cert, "127.0.0.1")).toBe("frame");
    expect([
      await at(undefined, "127.0.0.1"),
      await at(new TestAuthority("Other").cert, "127.0.0.1"),
      await at(authority.cert, "localhost"),
    ]).toEqual([
      "unreachable UNABLE_TO_VERIFY_LEAF_SIGNATURE",
      "unreachable UNABLE_TO_VERIFY_LEAF_SIGNATURE",
      "unreachable ERR_TLS_CERT_ALTNAME_INVALID",
    ]);
    await secure.stop(true);
  });

  test("leaves neither the URL nor the credentials in the detail of a failure", async () => {
    const closed = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    closed.stop(true);
    const href = `http://127.0.0.1:${closed.port}/secret?key=secret`;
    const fetched = await fetchFrame(
      resolver,
      { href, authorization: "Basic secret", ca: undefined },
      never,
    );
    expect(JSON.stringify(fetched)).not.toContain("secret");
  });
});
