import { ApiClient } from "@fleet/api-client";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { type Clock, seededRandom } from "@fleet/daemon";
import { FakeClock } from "@fleet/daemon/testing";
import {
  deregisterRequestSchema,
  heartbeatRequestSchema,
  instanceIdSchema,
  nodeIdSchema,
  registerRequestSchema,
} from "@fleet/protocol";
import { Identity } from "../state/identity.ts";
import { Registration } from "./registration.ts";
import { eventually, recordingLog } from "../testing.ts";

interface Seen {
  readonly path: string;
  readonly token: string | null;
  readonly version: string | null;
  readonly body: unknown;
  readonly atMs: number;
}

const HEARTBEAT_MS = 30_000;

/** A coordinator with scripted answers; without one it accepts everything. */
class Coordinator {
  readonly seen: Seen[] = [];
  readonly answers: ((seen: Seen) => Response | Promise<Response>)[] = [];
  lifetimeMs = 3_600_000;
  readonly #clock: Clock;
  readonly #server: Bun.Server<undefined>;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#server = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: (request) => this.#answer(request),
    });
  }

  get url(): string {
    return `http://127.0.0.1:${this.#server.port}`;
  }

  paths(): string[] {
    return this.seen.map(({ path }) => path.slice(path.lastIndexOf("/") + 1));
  }

  registered(epoch = 1): Response {
    const body = {
      node_id: "radar3",
      epoch,
      access_token: `access-${this.seen.length}`,
      access_expires_ms: this.#clock.nowMs() + this.lifetimeMs,
      refresh_token: "refresh-new",
      heartbeat_interval_ms: HEARTBEAT_MS,
      events_url: "/api/v1/agents/radar3/events",
      frames: { host: "127.0.0.1", port: 30050, tls: false },
      protocol: 1,
      signing_keys: [],
    };
    return Response.json(body, { headers: { date: new Date(this.#clock.nowMs()).toUTCString() } });
  }

  stop(): void {
    void this.#server.stop(true);
  }

  async #answer(request: Request): Promise<Response> {
    const seen: Seen = {
      path: new URL(request.url).pathname,
      token: request.headers.get("authorization"),
      version: request.headers.get("x-fleet-protocol-version"),
      body: await request.json(),
      atMs: this.#clock.monotonicMs(),
    };
    this.seen.push(seen);
    const answer = this.answers.shift();
    if (answer !== undefined) return answer(seen);
    if (seen.path.endsWith("/register")) return this.registered();
    return Response.json({ server_time_ms: 1, commands_waiting: 0, reregister: false });
  }
}

const refuse =
  (status: number, code: string, headers = {}) =>
  () =>
    Response.json({ error: { code, message: "no" } }, { status, headers });

let clock: FakeClock;
/** The clock of requests only, so that `clock` has one timer between check-ins and none during one. */
let requestClock: FakeClock;
let coordinator: Coordinator;
let registrations: Registration[];

beforeEach(() => {
  clock = new FakeClock();
  requestClock = new FakeClock();
  coordinator = new Coordinator(clock);
  registrations = [];
});

afterEach(() => {
  for (const registration of registrations) void registration.stop(0);
  coordinator.stop();
});

interface SetUp {
  readonly refreshToken?: string;
  readonly enrollTokens?: string[];
  readonly url?: string;
}

function setUp(options: SetUp = {}) {
  const { log, lines } = recordingLog();
  const nodeId = nodeIdSchema.parse("radar3");
  const instanceId = instanceIdSchema.parse("i1");
  const told = { grants: 0, superseded: 0 };
  const said = { version: "1" };
  const registration = new Registration({
    client: new ApiClient({
      url: options.url ?? coordinator.url,
      clock: requestClock,
    }),
    clock,
    random: seededRandom(1),
    log,
    identity: new Identity(nodeId, options.refreshToken, undefined, log),
    request: () => ({ node_id: nodeId, instance_id: instanceId, version: said.version }),
    enrollTokens: () => options.enrollTokens ?? ["enroll"],
    counters: () => ({ radar: { produced: 5, acked: 3, spooled: 1, dropped: { bad_json: 1 } } }),
    onGrant: () => told.grants++,
    onSuperseded: () => told.superseded++,
  });
  registrations.push(registration);
  return { registration, lines, told, said };
}

/** Waits for request number `count`, and until its answer is processed. */
async function settled(count: number): Promise<void> {
  await eventually(() => coordinator.seen.length >= count, `request ${count}`);
  await eventually(() => clock.timers === 1, "the next check to be set");
}

/** Steps time until request number `count` arrives; returns the ms that took. */
async function stepTo(count: number, stepMs: number, limitMs: number): Promise<number> {
  const startMs = clock.monotonicMs();
  for (;;) {
    await eventually(() => clock.timers === 1, "the next check to be set");
    if (coordinator.seen.length >= count || clock.monotonicMs() - startMs > limitMs) break;
    clock.advance(stepMs);
  }
  expect(coordinator.seen.length).toBeGreaterThanOrEqual(count);
  return coordinator.seen[count - 1]!.atMs - startMs;
}

test("registers with the enrolment token, in the protocol's form, and hands the grant on", async () => {
  const { registration, told } = setUp();
  registration.start();
  await settled(1);
  const { path, token, version, body } = coordinator.seen[0]!;
  expect([path, token, version]).toEqual(["/api/v1/agents/register", "Bearer enroll", "1"]);
  expect(registerRequestSchema.safeParse(body).success).toBe(true);
  expect(told.grants).toBe(1);
  expect(registration.grant).toMatchObject({ nodeId: "radar3", epoch: 1, accessToken: "access-1" });
});

test("prefers its refresh token, and falls back to the enrolment token when that is refused", async () => {
  const { registration } = setUp({ refreshToken: "refresh-old" });
  coordinator.answers.push(refuse(401, "unauthorized"));
  registration.start();
  await settled(2);
  expect(coordinator.seen.map(({ token }) => token)).toEqual([
    "Bearer refresh-old",
    "Bearer enroll",
  ]);
  expect(registration.state.at).toBe("registered");
});

describe("the register request has changed", () => {
  const versions = () =>
    coordinator.seen
      .filter(({ path }) => path.endsWith("/register"))
      .map(({ body }) => (body as { version: string }).version);

  test("it registers again soon, and keeps its grant until then", async () => {
    const { registration, said } = setUp();
    registration.start();
    await settled(1);
    const before = registration.grant;
    said.version = "2";
    registration.announce();
    expect(registration.grant).toBe(before);
    expect(await stepTo(2, 100, 5000)).toBeLessThanOrEqual(1000);
    expect(versions()).toEqual(["1", "2"]);
  });

  test("while a register is in flight: it registers again with the change", async () => {
    const { registration, said } = setUp();
    registration.start();
    said.version = "2";
    registration.announce();
    await stepTo(2, 100, 5000);
    expect(versions()).toEqual(["1", "2"]);
    await settled(2);
    expect(registration.state.at).toBe("registered");
  });
});

test("the refresh token of the answer is used for the next register", async () => {
  const { registration } = setUp();
  registration.start();
  await settled(1);
  registration.renew(registration.grant!);
  await stepTo(2, 100, 2000);
  expect(coordinator.seen[1]).toMatchObject({ token: "Bearer refresh-new" });
});

test("without any token it registers all the same, saying nothing of one", async () => {
  const { registration } = setUp({ enrollTokens: [] });
  registration.start();
  await settled(1);
  expect(coordinator.seen[0]?.token).toBeNull();
});

test("checks in every interval with its counters and the access token", async () => {
  const { registration } = setUp();
  registration.start();
  await settled(1);
  const first = await stepTo(2, 500, HEARTBEAT_MS);
  expect(first).toBeGreaterThanOrEqual(HEARTBEAT_MS * 0.1);
  expect(first).toBeLessThanOrEqual(HEARTBEAT_MS);
  const beat = coordinator.seen[1]!;
  expect([beat.path, beat.token]).toEqual(["/api/v1/agents/radar3/heartbeat", "Bearer access-1"]);
  expect(heartbeatRequestSchema.safeParse(beat.body).success).toBe(true);
  expect(beat.body).toMatchObject({ epoch: 1, counters: { radar: { produced: 5 } } });
  const second = await stepTo(3, 500, 2 * HEARTBEAT_MS);
  expect(second).toBe(HEARTBEAT_MS);
});

test.each([
  ["a heartbeat answered 401", refuse(401, "unauthorized")],
  ["a heartbeat answered 404", refuse(404, "unknown_node")],
  [
    "a heartbeat answered with reregister",
    () => Response.json({ server_time_ms: 1, commands_waiting: 0, reregister: true }),
  ],
])("%s is followed by a register at once", async (_what, answer) => {
  const { registration, told } = setUp();
  registration.start();
  await settled(1);
  coordinator.answers.push(answer);
  await stepTo(2, 500, HEARTBEAT_MS);
  await settled(3);
  expect(coordinator.paths()).toEqual(["register", "heartbeat", "register"]);
  expect(coordinator.seen[2]!.atMs).toBe(coordinator.seen[1]!.atMs);
  expect(told.grants).toBe(2);
});

test("registers again before the access token expires", async () => {
  coordinator.lifetimeMs = 10_000;
  const { registration } = setUp();
  registration.start();
  await settled(1);
  // The lifetime is measured by the Date header, which has whole seconds.
  const atMs = await stepTo(2, 100, 12_000);
  expect(coordinator.paths()[1]).toBe("register");
  expect(atMs).toBeLessThan(10_000);
  expect(atMs).toBeGreaterThan(5000);
});

test("a token that appears to have expired long ago, because clocks differ, causes no busy loop", async () => {
  coordinator.lifetimeMs = -3_600_000;
  const { registration } = setUp();
  registration.start();
  await settled(1);
  for (let second = 0; second < 10; second++) {
    clock.advance(999);
    await new Promise((resolve) => setImmediate(resolve));
    await eventually(() => clock.timers === 1);
  }
  expect(coordinator.seen.length).toBeLessThanOrEqual(11);
});

test("a coordinator that fails is tried again at once, then with growing delays, and never less than each 30 s", async () => {
  const { registration, lines } = setUp();
  for (let i = 0; i < 12; i++) coordinator.answers.push(refuse(503, "starting"));
  registration.start();
  await settled(1);
  expect(await stepTo(2, 0, 1)).toBe(0);
  const delays: number[] = [];
  for (let count = 3; count <= 13; count++) delays.push(await stepTo(count, 50, 31_000));
  expect(delays[0]).toBeGreaterThanOrEqual(125);
  expect(delays[0]).toBeLessThanOrEqual(250);
  expect(Math.max(...delays)).toBeLessThanOrEqual(5000);
  expect(delays.at(-1)).toBeGreaterThanOrEqual(2500);
  expect(registration.state.at).toBe("registered");
  expect(lines.filter(({ level }) => level === "warn").length).toBe(1);
});

test("Retry-After is honoured, but no longer than the agent may be silent", async () => {
  const { registration } = setUp();
  coordinator.answers.push(refuse(503, "starting", { "retry-after": "7" }));
  coordinator.answers.push(refuse(429, "slow_down", { "retry-after": "3600" }));
  registration.start();
  await settled(1);
  const first = await stepTo(2, 100, 10_000);
  expect(first).toBeGreaterThanOrEqual(7000);
  expect(first).toBeLessThanOrEqual(7700);
  const second = await stepTo(3, 100, 40_000);
  expect(second).toBeGreaterThanOrEqual(27_000);
  expect(second).toBeLessThanOrEqual(30_000);
});

test("a token that is wrong behind an address that has shown too many is as good as refused: the next one is tried (H5)", async () => {
  const { registration } = setUp({ refreshToken: "refresh-old" });
  coordinator.answers.push(refuse(429, "too_many_failures", { "retry-after": "60" }));
  registration.start();
  await settled(2);
  expect(registration.state.at).toBe("registered");
  coordinator.answers.push(refuse(429, "too_many_failures", { "retry-after": "60" }));
  await stepTo(3, 100, 31_000);
  await settled(4);
  expect(coordinator.seen.map(({ path }) => path.split("/").at(-1))).toEqual([
    "register",
    "register",
    "heartbeat",
    "register",
  ]);
});

test("a coordinator that is not there is tried for ever, and the log does not fill with it", async () => {
  const away = new Coordinator(clock);
  const { url } = away;
  away.stop();
  const { registration, lines } = setUp({ url });
  registration.start();
  for (let i = 0; i < 100; i++) {
    await eventually(() => clock.timers === 1);
    clock.advance(5000);
  }
  expect(registration.state.at).toBe("unregistered");
  const complaints = lines.filter(({ level }) => level === "warn").length;
  expect(complaints).toBeGreaterThanOrEqual(5);
  expect(complaints).toBeLessThanOrEqual(10);
});

test("refused tokens never end it: it says so and tries on, each 30 s at least", async () => {
  const { registration, lines, told } = setUp({ refreshToken: "old" });
  for (let i = 0; i < 20; i++) coordinator.answers.push(refuse(401, "unauthorized"));
  registration.start();
  await settled(2);
  for (let count = 4; count <= 20; count += 2)
    expect(await stepTo(count, 500, 31_000)).toBeLessThanOrEqual(30_000);
  await stepTo(21, 500, 31_000);
  expect(registration.state.at).toBe("registered");
  expect(told.grants).toBe(1);
  expect(lines.find(({ level }) => level === "warn")?.message).toContain("refuses our token");
});

test.each(["superseded", "contested"])(
  "a 409 %s is told once and ends the checking in, without a goodbye (R9)",
  async (code) => {
    const { registration, told } = setUp();
    coordinator.answers.push(refuse(409, code));
    registration.start();
    await eventually(() => told.superseded === 1);
    clock.advance(3_600_000);
    await registration.stop(clock.monotonicMs() + 1000);
    expect(coordinator.seen.length).toBe(1);
    expect(registration.grant).toBeUndefined();
  },
);

test.each([
  ["an answer that is no JSON", () => new Response("hello")],
  ["the answer has an unknown form", () => Response.json({ ok: true })],
  [
    "an answer for another node",
    async () =>
      Response.json({ ...((await coordinator.registered().json()) as object), node_id: "other" }),
  ],
  ["an endless answer", () => new Response("x".repeat(2 * 1024 * 1024))],
  ["a redirect", () => Response.redirect("http://127.0.0.1:1/", 302)],
])("%s counts as a failure", async (_what, answer) => {
  const { registration } = setUp();
  coordinator.answers.push(answer);
  registration.start();
  await settled(1);
  expect(registration.state.at).toBe("unregistered");
  await stepTo(2, 100, 3000);
  expect(registration.state.at).toBe("registered");
});

test("a coordinator that does not answer is given up after 10 s", async () => {
  const { registration } = setUp();
  const never = Promise.withResolvers<Response>();
  coordinator.answers.push(() => never.promise);
  registration.start();
  await eventually(() => coordinator.seen.length === 1);
  requestClock.advance(9_999);
  expect(clock.timers).toBe(0);
  requestClock.advance(1);
  await settled(1);
  clock.advance(0);
  await settled(2);
  expect(registration.state.at).toBe("registered");
  never.resolve(new Response("{}"));
});

test("the uplinks are notified of a coordinator that is back", async () => {
  const { registration, told } = setUp();
  registration.start();
  await settled(1);
  coordinator.answers.push(refuse(503, "starting"));
  await stepTo(2, 500, HEARTBEAT_MS);
  expect(told.grants).toBe(1);
  clock.advance(0);
  await settled(3);
  expect(told.grants).toBe(2);
});

test("a nudge checks in within moments, and many nudges make one check", async () => {
  const { registration } = setUp();
  registration.start();
  await settled(1);
  clock.advance(2000);
  for (let i = 0; i < 10; i++) registration.nudge();
  clock.advance(100);
  await settled(2);
  expect(coordinator.paths()).toEqual(["register", "heartbeat"]);
  registration.nudge();
  clock.advance(900);
  await new Promise((resolve) => setImmediate(resolve));
  expect(coordinator.seen.length).toBe(2);
  clock.advance(200);
  await settled(3);
});

test("renewing an older grant than the current one does nothing", async () => {
  const { registration } = setUp();
  registration.start();
  await settled(1);
  const old = registration.grant!;
  registration.renew(old);
  await stepTo(2, 100, 2000);
  registration.renew(old);
  expect(registration.state.at).toBe("registered");
});

test("a stop says goodbye once and nothing after it", async () => {
  const { registration } = setUp();
  registration.start();
  await settled(1);
  const stopped = registration.stop(clock.monotonicMs() + 1000);
  expect(registration.stop(clock.monotonicMs() + 1000)).toBe(stopped);
  await stopped;
  clock.advance(3_600_000);
  registration.nudge();
  expect(coordinator.paths()).toEqual(["register", "deregister"]);
  const goodbye = deregisterRequestSchema.parse(coordinator.seen[1]!.body);
  expect(goodbye.counters).toMatchObject({ radar: { produced: 5 } });
  expect(clock.timers).toBe(0);
});

test("being superseded during a check-in ends all check-ins, whatever the answer", async () => {
  const { registration, told } = setUp();
  registration.start();
  await settled(1);
  const answer = Promise.withResolvers<Response>();
  coordinator.answers.push(() => answer.promise);
  clock.advance(HEARTBEAT_MS);
  await eventually(() => coordinator.seen.length === 2);
  registration.supersede();
  answer.resolve(refuse(401, "unauthorized")());
  await registration.stop(clock.monotonicMs() + 1000);
  clock.advance(3_600_000);
  expect(coordinator.paths()).toEqual(["register", "heartbeat"]);
  expect([registration.grant, told.grants]).toEqual([undefined, 1]);
});
