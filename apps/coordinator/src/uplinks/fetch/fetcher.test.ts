import { afterEach, describe, expect, test } from "bun:test";
import { settle } from "@fleet/daemon/testing";
import { nodeId, registration, streamId, until } from "../../testing.ts";
import type { Tracker } from "../../trackers/tracker.ts";
import type { Fetchers } from "./fetchers.ts";
import { frame, FramePort, lines, PUSH } from "../testing.ts";

const HILL = nodeId("hill");
const STREAM = streamId("hill");
const INTERVAL_MS = 500;
const STALLED_MS = 10_000;
const TIMEOUT_MS = 10_000;
const OUTAGE_MS = 60_000;

interface RigOptions {
  readonly ports?: number;
  readonly trackers?: "up" | "deaf";
}

/** A server with a latest frame, a fetcher of it, and everything behind. */
class Rig implements AsyncDisposable {
  readonly port: FramePort;
  readonly fetchers: Fetchers;
  asked = 0;
  answer: () => Response | Promise<Response> = () => new Response("", { status: 503 });
  readonly #server: Bun.Server<undefined>;

  constructor(options: RigOptions = {}) {
    this.#server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: () => {
        this.asked++;
        return this.answer();
      },
    });
    const href = `http://127.0.0.1:${this.#server.port}/d`;
    this.port = new FramePort({ ...options, fetched: { hill: href } });
    this.fetchers = this.port.uplinks.fetchers;
  }

  get tracker(): Tracker {
    return this.port.manager.get(STREAM)!;
  }

  /** Answers with frame `n` from now on. */
  shows(n: number): void {
    this.answer = () => new Response(frame(n));
  }

  outcomes(): Record<string, number> {
    return Object.fromEntries(this.fetchers.outcomes()[0]![1].entries());
  }

  /** Advances the clock until an outcome has been counted `times` times. */
  async answers(outcome: string, times: number, stepMs?: number): Promise<void> {
    await this.until(() => (this.outcomes()[outcome] ?? 0) >= times, stepMs);
  }

  async until(isSo: () => boolean, stepMs = 10): Promise<void> {
    await until(isSo, () => this.port.clock.advance(stepMs));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.fetchers.stop();
    await this.#server.stop(true);
    await this.port[Symbol.asyncDispose]();
  }
}

const rigs: Rig[] = [];

async function begin(options?: RigOptions): Promise<Rig> {
  const rig = new Rig(options);
  rigs.push(rig);
  await rig.port.manager.start();
  rig.fetchers.start();
  return rig;
}

afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig[Symbol.asyncDispose]();
});

describe("a node whose frames are fetched (T7)", () => {
  test("is a node, and each new frame goes to its tracker once", async () => {
    const rig = await begin();
    rig.shows(1);
    await rig.answers("duplicate", 2);
    rig.shows(2);
    await rig.answers("frame", 2);
    const tracker = await rig.port.tracker("hill");
    await rig.until(() => tracker.lines.length === 2);
    expect(tracker.lines).toEqual([frame(1), frame(2)]);
    expect(rig.tracker.toView()).toMatchObject({ source: "config", mode: "http", frames: 2 });
    expect(rig.port.registry.get(HILL)?.row.kind).toBe("plain");
    expect(rig.tracker.activity.lastFrameAtMs).not.toBeNull();
  });

  test("is fetched at its interval", async () => {
    const rig = await begin();
    rig.shows(1);
    await rig.answers("frame", 1);
    const beganMs = rig.port.clock.monotonicMs();
    await rig.answers("duplicate", 10);
    const tookMs = rig.port.clock.monotonicMs() - beganMs;
    expect(tookMs).toBeGreaterThanOrEqual(10 * INTERVAL_MS - INTERVAL_MS / 2);
  });

  test("cannot be pushed for with a push token", async () => {
    const rig = await begin();
    const peer = await rig.port.connect();
    peer.send(lines(frame(1, { node_id: "hill", token: PUSH })));
    await rig.until(() => rig.port.counts.get("fetched") === 1);
    expect(rig.port.manager.refused.fetched).toBe(1);
    expect(rig.tracker.isActive).toBe(false);
  });

  test("that has an agent is not fetched: its sensors' frames are another stream", async () => {
    const rig = await begin();
    await rig.port.registry.register(registration({ node_id: "hill", instance_id: "i1" }));
    rig.shows(1);
    await rig.answers("has_agent", 1);
    expect(rig.tracker.isActive).toBe(false);
  });
});

describe("an outage of the server (T7)", () => {
  test("lengthens the interval up to 30 s, is logged once, and ends with the first new frame", async () => {
    const rig = await begin();
    const { clock } = rig.port;
    for (const [n, fullMs] of [2000, 4000, 8000, 16_000, 30_000, 30_000].entries()) {
      await rig.answers("bad_status", n + 1);
      const { asked } = rig;
      clock.advance(fullMs / 2 - 1);
      await settle();
      expect(rig.asked).toBe(asked);
      clock.advance(fullMs / 2 + 1);
    }
    const warnings = rig.port.log.lines.filter((l) => l.message === "fetching frames fails");
    expect(warnings.map((l) => l.fields["problem"])).toEqual(["bad_status"]);
    rig.shows(1);
    await rig.answers("frame", 1);
    expect(rig.port.log.count("fetching frames works again")).toBe(1);
    rig.shows(2);
    await rig.answers("frame", 2);
    expect(rig.port.log.count("fetching frames works again")).toBe(1);
  });

  test("detaches the source at once, and stops the tracker if it lasts; a new frame starts it again", async () => {
    const rig = await begin();
    rig.shows(1);
    await rig.until(() => rig.tracker.state === "RUNNING");
    rig.answer = () => new Response("not a frame");
    await rig.answers("bad_json", 1);
    rig.port.clock.advance(OUTAGE_MS - 1);
    expect(rig.tracker.state).toBe("OUTAGE");
    rig.port.clock.advance(1);
    await rig.until(() => rig.tracker.state === "STOPPED", 50);
    rig.shows(2);
    await rig.until(() => rig.tracker.state === "RUNNING");
    expect(rig.tracker.toView().run).toBe(2);
    await rig.until(() => rig.tracker.queue.waitingFrames === 0);
  });

  test("that is short does not stop the tracker, and the frame before it is not taken twice", async () => {
    const rig = await begin();
    rig.shows(1);
    await rig.until(() => rig.tracker.state === "RUNNING");
    rig.answer = () => new Response("", { status: 500 });
    await rig.answers("bad_status", 2);
    rig.shows(1);
    await rig.answers("duplicate", 1);
    expect(rig.tracker.state).toBe("OUTAGE");
    rig.shows(2);
    await rig.answers("frame", 2);
    expect(rig.tracker.toView()).toMatchObject({ state: "RUNNING", run: 1 });
  });

  test("is also a frame that never changes: a dead sensor behind a live server", async () => {
    const rig = await begin();
    rig.shows(1);
    await rig.until(() => rig.tracker.state === "RUNNING");
    await rig.answers("duplicate", 1);
    rig.port.clock.advance(STALLED_MS);
    await rig.answers("duplicate", 2);
    expect(rig.tracker.state).toBe("OUTAGE");
    expect(rig.port.log.count("fetched frame does not change")).toBe(1);
    rig.port.clock.advance(OUTAGE_MS);
    await rig.until(() => rig.tracker.state === "STOPPED", 50);
    const { asked } = rig;
    await rig.until(() => rig.asked > asked + 3, 50);
    expect(rig.port.registry.stateOf(rig.port.registry.get(HILL)!)).toBe("LIVE");
    rig.shows(2);
    await rig.until(() => rig.tracker.state === "RUNNING");
    expect(rig.port.log.count("fetching frames works again")).toBe(1);
  });

  test("is also a server that accepts the request and sends nothing for 10 s", async () => {
    const rig = await begin();
    rig.answer = () => new Promise(() => {});
    await rig.until(() => rig.asked === 1);
    rig.port.clock.advance(TIMEOUT_MS);
    await rig.answers("timed_out", 1);
    rig.shows(1);
    await rig.answers("frame", 1);
  });

  test("that begins and ends again and again does not fill the log: it is logged once a minute", async () => {
    const rig = await begin();
    let turn = 0;
    rig.answer = () =>
      turn++ % 2 === 0 ? new Response("", { status: 500 }) : new Response(frame(turn));
    await rig.answers("frame", 6, 50);
    expect(rig.port.log.count("fetching frames fails")).toBe(1);
    expect(rig.port.log.count("fetching frames works again")).toBe(1);
  });
});

describe("the tracker behind a fetcher", () => {
  test("slows it down: while its queue is full, nothing is requested (T8)", async () => {
    const rig = await begin({ trackers: "deaf" });
    let n = 0;
    rig.answer = () => new Response(frame(++n, { pad: "x".repeat(1_000_000) }));
    await rig.answers("tracker_full", 1);
    const { asked } = rig;
    await rig.answers("tracker_full", 5);
    expect(rig.asked).toBe(asked);
    (await rig.port.tracker("hill")).reads(true);
    await rig.until(() => rig.asked > asked);
  });

  test("may have no port: the frame is taken when one is free", async () => {
    const rig = await begin({ ports: 1 });
    const peer = await rig.port.connect();
    peer.send(lines(frame(1, { node_id: "dale", token: PUSH })));
    await rig.until(() => rig.port.manager.get(streamId("dale"))?.state === "RUNNING");
    rig.shows(1);
    await rig.answers("ports_exhausted", 1);
    peer.close();
    await rig.until(() => rig.port.manager.get(streamId("dale"))?.state === "OUTAGE");
    rig.port.clock.advance(OUTAGE_MS);
    await rig.until(() => rig.port.manager.get(streamId("dale"))?.isActive === false);
    await rig.answers("frame", 1, 50);
    expect(rig.tracker.toView().frames).toBeLessThanOrEqual(1);
  });

  test("gets no frame after a stop, which also aborts a request under way", async () => {
    const rig = await begin();
    rig.answer = () => new Promise(() => {});
    await rig.until(() => rig.asked === 1);
    await rig.fetchers.stop();
    rig.port.clock.advance(60_000);
    expect(rig.asked).toBe(1);
    expect(rig.outcomes()).toEqual({});
  });
});
