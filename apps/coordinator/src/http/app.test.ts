import { describe, expect, test } from "bun:test";
import { trackerListSchema, trackerViewSchema, trackListSchema } from "@fleet/protocol";
import { nodeId, streamId, until } from "../testing.ts";
import type { Tracker } from "../trackers/tracker.ts";
import { Api, ENROLL, OPERATOR, PUSH } from "./testing.ts";

const EVENTS = "/api/v1/events";

function codeOf(answer: { readonly body: unknown }): unknown {
  return (answer.body as { error?: { code?: unknown } }).error?.code;
}

/** Reads an event stream as text. */
class Reader {
  text = "";
  ended = false;
  readonly #abort = new AbortController();

  async open(api: Api, query = ""): Promise<Response> {
    const response = await fetch(api.url(`${EVENTS}${query}`), {
      headers: { Authorization: `Bearer ${OPERATOR}` },
      signal: this.#abort.signal,
    });
    void this.#read(response.body!);
    return response;
  }

  close(): void {
    this.#abort.abort();
  }

  async #read(body: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    try {
      for await (const chunk of body) this.text += decoder.decode(chunk);
    } catch {
      // Aborted.
    }
    this.ended = true;
  }
}

describe("a route for operators", () => {
  const paths = [
    "/api/v1/agents",
    "/api/v1/agents/a",
    "/api/v1/trackers",
    "/api/v1/trackers/a.b",
    "/api/v1/trackers/a.b/tracks",
    EVENTS,
  ];
  test.each(paths)("%s refuses every other token (H5)", async (path) => {
    await using api = new Api();
    const { access_token, refresh_token } = await api.register("radar3");
    const wrong = [undefined, "x", ENROLL, PUSH, access_token, refresh_token];
    for (const token of wrong) {
      const answer = await api.call("GET", path, token === undefined ? {} : { token });
      expect([answer.status, codeOf(answer)]).toEqual([401, "unauthorized"]);
    }
    const basic = { Authorization: `Basic ${OPERATOR}` };
    expect((await api.call("GET", path, { headers: basic })).status).toBe(401);
  });
});

describe("errors", () => {
  test("have one form and reveal nothing internal", async () => {
    await using api = new Api();
    const none = await api.call("GET", "/api/v1/nothing", { token: OPERATOR });
    expect(none.status).toBe(404);
    expect(none.body).toEqual({ error: { code: "not_found", message: "no such resource" } });
    api.registry.list = () => {
      throw new Error("secret path /var/lib");
    };
    const broken = await api.call("GET", "/api/v1/agents", { token: OPERATOR });
    expect(broken.status).toBe(500);
    expect(broken.body).toEqual({ error: { code: "internal", message: "internal error" } });
    const logged = api.log.lines.find((l) => l.message === "request failed");
    expect(logged).toMatchObject({ level: "error", fields: { path: "/api/v1/agents" } });
    expect(JSON.stringify(api.log.lines)).not.toContain(OPERATOR);
  });
});

describe("health (H4)", () => {
  test("reports the version, and readiness as the database has it", async () => {
    await using api = new Api();
    expect((await api.call("GET", "/healthz")).body).toEqual({ status: "ok", version: "1.2.3" });
    expect((await api.call("GET", "/readyz")).body).toEqual({ status: "ready" });
    api.ready = false;
    const answer = await api.call("GET", "/readyz");
    expect([answer.status, answer.body]).toEqual([
      503,
      { status: "not_ready", reason: "the database cannot be written" },
    ]);
  });

  test("metrics are open, or only for operators if the config says so (H12)", async () => {
    await using open = new Api();
    expect((await open.call("GET", "/metrics")).status).toBe(200);
    await using closed = new Api({ metrics: "viewer" });
    for (const token of [undefined, ENROLL, "guess"])
      expect(
        (await closed.call("GET", "/metrics", token === undefined ? {} : { token })).status,
      ).toBe(401);
    expect((await closed.call("GET", "/metrics", { token: OPERATOR })).status).toBe(200);
  });

  test("metrics are rendered once a second at most, however many ask (H12)", async () => {
    await using api = new Api();
    const scrape = async () => (await api.call("GET", "/metrics")).body;
    const first = await scrape();
    await api.register("hill");
    expect(await scrape()).toEqual(first);
    api.clock.advance(1000);
    expect(await scrape()).not.toEqual(first);
  });

  test("metrics are Prometheus text with absolute counts", async () => {
    await using api = new Api();
    await api.register("radar3");
    api.counts.add("duplicate", 4);
    const counters = { produced: 9, acked: 5, spooled: 1, dropped: { spool_full: 3 } };
    api.registry.heard(nodeId("radar3"), { radar: counters });
    api.manager.attach(streamId("radar3.radar"));
    for (let reading = 0; reading < 2; reading++) {
      const { headers, body } = await api.call("GET", "/metrics");
      expect(headers.get("Content-Type")).toContain("text/plain");
      const text = String(body);
      for (const line of [
        `fleet_nodes{state="LIVE"} 1`,
        `fleet_nodes{state="DEAD"} 0`,
        `fleet_lines_refused_total{reason="duplicate"} 4`,
        `fleet_frame_connections 3`,
        `fleet_trackers{state="STARTING"} 1`,
        `fleet_frames_accepted_total{stream="radar3.radar"} 0`,
        `fleet_sensor_frames_produced_total{stream="radar3.radar"} 9`,
        `fleet_sensor_frames_acked_total{stream="radar3.radar"} 5`,
        `fleet_sensor_frames_spooled{stream="radar3.radar"} 1`,
        `fleet_sensor_frames_dropped_total{stream="radar3.radar",reason="spool_full"} 3`,
      ])
        expect(text.split("\n")).toContain(line);
      expect(text).toContain("process_cpu_seconds_total");
    }
  });
});

describe("trackers (T9)", () => {
  test("are listed with their state, and their tracks newest first", async () => {
    await using api = new Api();
    const tracker = api.manager.attach(streamId("radar3.radar")) as Tracker;
    const event = Buffer.from(`{"track_id":"a","length":2}`);
    tracker.tracks.add(
      { trackId: "a", timestamp: 1, end: event.length },
      event,
      0,
      1,
      api.clock.nowMs(),
    );
    const list = await api.call("GET", "/api/v1/trackers", { token: OPERATOR });
    expect(trackerListSchema.parse(list.body).trackers).toHaveLength(1);
    const one = await api.call("GET", "/api/v1/trackers/radar3.radar", { token: OPERATOR });
    expect(trackerViewSchema.parse(one.body)).toMatchObject({
      state: "STARTING",
      events: 1,
    });
    const tracks = await api.call("GET", "/api/v1/trackers/radar3.radar/tracks", {
      token: OPERATOR,
    });
    expect(trackListSchema.parse(tracks.body)).toEqual({
      stream_id: streamId("radar3.radar"),
      tracks: [{ track_id: "a", length: 2, run: 1 }],
    });
  });

  test.each(["none", "none/tracks", "..%2f..%2fetc%2fpasswd/tracks", "__proto__"])(
    "of %p are 404",
    async (path) => {
      await using api = new Api();
      const answer = await api.call("GET", `/api/v1/trackers/${path}`, { token: OPERATOR });
      expect([answer.status, codeOf(answer)]).toEqual([404, "unknown_stream"]);
    },
  );
});

describe("the event stream of the bus", () => {
  test("sends the events of the requested topics, and a comment every 15 s", async () => {
    await using api = new Api();
    const [all, hill] = [new Reader(), new Reader()];
    const response = await all.open(api, "?topic=node.*.state");
    await hill.open(api, "?topic=node.hill.state");
    expect(response.headers.get("Content-Type")).toBe("text/event-stream");
    await until(() => all.text !== "" && hill.text !== "");
    await api.register("radar3");
    await api.register("hill");
    const told = (id: string): string =>
      `event: node.${id}.state\ndata: {"at_ms":${api.clock.nowMs()},"node_id":"${id}","state":"LIVE","previous_state":"UNKNOWN"}\n\n`;
    await until(() => all.text === `: open\n\n${told("radar3")}${told("hill")}`);
    await until(() => hill.text === `: open\n\n${told("hill")}`);
    api.clock.advance(15_000);
    await until(() => all.text.endsWith(": keepalive\n\n"));
    all.close();
    hill.close();
    await until(() => api.bus.isIdle);
  });

  test("of a client that disconnects ends, with its subscription and its timer", async () => {
    await using api = new Api();
    const timers = api.clock.timers;
    const reader = new Reader();
    await reader.open(api);
    await until(() => reader.text !== "");
    expect([api.bus.isIdle, api.clock.timers]).toEqual([false, timers + 1]);
    reader.close();
    await until(() => api.bus.isIdle && api.clock.timers === timers);
  });

  test("of a client that does not keep up is closed, and the others continue", async () => {
    await using api = new Api();
    const good = new Reader();
    await good.open(api, "?topic=track.note");
    let slowRead = "";
    const slow = await Bun.connect({
      hostname: "127.0.0.1",
      port: api.server.port,
      socket: {
        data: (_, chunk) => {
          slowRead = (slowRead + chunk.toString()).slice(-100);
        },
      },
    });
    slow.write(`GET ${EVENTS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${OPERATOR}\r\n\r\n`);
    slow.pause();
    const timers = api.clock.timers;
    await until(() => api.clock.timers === timers + 1);
    const flood = {
      kind: "track",
      streamId: streamId("flood"),
      atMs: 0,
      data: { track_id: "x".repeat(10_000), run: 1 },
    } as const;
    let published = 0;
    await until(
      () => api.clock.timers === timers,
      () => {
        for (let n = 0; n < 100; n++) api.bus.publish(flood);
        published += 100;
      },
    );
    expect(published).toBeLessThan(10_000);
    const data = { track_id: "00A1", run: 1 };
    api.bus.publish({ kind: "track", streamId: streamId("note"), atMs: 7, data });
    await until(() =>
      good.text.endsWith(
        'event: track.note\ndata: {"at_ms":7,"stream_id":"note","track_id":"00A1","run":1}\n\n',
      ),
    );
    expect(good.ended).toBe(false);
    // It can still read what was sent before, and then the end.
    slow.resume();
    await until(() => slowRead.endsWith("\r\n0\r\n\r\n"));
    slow.terminate();
    good.close();
  });

  test("refuses a malformed topic pattern", async () => {
    await using api = new Api();
    for (const topic of ["", "a..b", "a b", ".a", "a/b"]) {
      const query = new URLSearchParams({ topic });
      const answer = await api.call("GET", `${EVENTS}?${query.toString()}`, { token: OPERATOR });
      expect([answer.status, codeOf(answer)]).toEqual([400, "bad_request"]);
    }
  });

  test("ends when the server stops", async () => {
    const api = new Api();
    const reader = new Reader();
    await reader.open(api);
    await until(() => reader.text !== "");
    await api[Symbol.asyncDispose]();
    await until(() => reader.ended && api.bus.isIdle);
  });
});

test("one token opens at most 256 event streams, and leaves room for other tokens (H12)", async () => {
  await using api = new Api();
  const viewer = await api.token({ name: "wall", kind: "operator", role: "viewer" });
  // Not with fetch, which opens at most 256 connections.
  const open = async (token: string) => {
    const status = Promise.withResolvers<number>();
    const socket = await Bun.connect({
      hostname: "127.0.0.1",
      port: Number(new URL(api.url("/")).port),
      socket: {
        data: (_socket, data) => status.resolve(Number(data.toString("latin1").split(" ")[1])),
      },
    });
    socket.write(`GET ${EVENTS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n\r\n`);
    return { status: await status.promise, close: () => socket.terminate() };
  };
  const streams = await Promise.all(Array.from({ length: 256 }, () => open(viewer)));
  expect(new Set(streams.map(({ status }) => status))).toEqual(new Set([200]));
  expect((await open(viewer)).status).toBe(503);
  const other = await open(OPERATOR);
  expect(other.status).toBe(200);
  streams[0]!.close();
  let again = await open(viewer);
  while (again.status !== 200) again = await open(viewer);
  streams.push(again);
  for (const stream of [...streams, other]) stream.close();
});

test("requests that clients abort fill no log (H12)", async () => {
  await using api = new Api();
  for (let n = 0; n < 50; n++) {
    const socket = await Bun.connect({
      hostname: "127.0.0.1",
      port: Number(new URL(api.url("/")).port),
      socket: { data: () => {} },
    });
    socket.write(
      `POST /api/v1/agents/register HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${ENROLL}\r\nX-Fleet-Protocol-Version: 1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"nod`,
    );
    socket.flush();
    socket.terminate();
  }
  expect((await api.call("GET", "/healthz")).status).toBe(200);
  expect(api.log.count("request failed")).toBeLessThanOrEqual(1);
});
