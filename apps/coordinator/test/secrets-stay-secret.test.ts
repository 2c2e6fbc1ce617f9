/**
 * Runs the built binaries through everything that can go wrong, then searches their output, every command line and the
 * coordinator's files for each secret used. (H5)
 */
import { Database } from "bun:sqlite";
import { afterEach, beforeEach, expect, test } from "bun:test";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import type { RegisterResponse } from "@fleet/protocol";
import { ENROLL_TOKEN, Fleet, OPERATOR_TOKEN, PUSH_TOKEN, type Run, until } from "./rig/fleet.ts";
import { COUNTING_SH } from "./rig/sensors.ts";

const NEW_ENROLL = "the-enrolment-token-that-comes-next-0123456789";
const WRONG = "fle_o_ThisOneOpensNothingAndIsNoSecretOfOursAtAll01";
const DEBUG = ["--log-level", "debug"];

let fleet: Fleet;
let runs: Run[];
/** The texts to search: responses of the API, and command lines. */
let seen: string[];
let secrets: Map<string, string>;

beforeEach(() => {
  fleet = new Fleet();
  runs = [];
  seen = [];
  secrets = new Map([
    ["enrolment token", ENROLL_TOKEN],
    ["next enrolment token", NEW_ENROLL],
    ["operator token", OPERATOR_TOKEN],
    ["push token", PUSH_TOKEN],
    ["wrong token", WRONG],
  ]);
});
afterEach(() => fleet.close());

async function request(
  method: string,
  path: string,
  token?: string,
  body?: unknown,
): Promise<unknown> {
  const response = await fetch(`http://127.0.0.1:${fleet.ports.http}${path}`, {
    method,
    headers: {
      "X-Fleet-Protocol-Version": "1",
      ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  // Only these two are meant to return a secret.
  const returnsSecret =
    method === "POST" && ["/api/v1/tokens", "/api/v1/agents/register"].includes(path);
  if (!returnsSecret || !response.ok) seen.push(text);
  return text.startsWith("{") ? JSON.parse(text) : text;
}

/** Sends lines to the frame port, and gives it time to read them. */
async function sendLines(...lines: readonly unknown[]): Promise<void> {
  const socket = connect(fleet.ports.frames, "127.0.0.1");
  socket.on("data", (chunk) => seen.push(chunk.toString()));
  socket.on("error", () => {});
  for (const line of lines)
    socket.write(`${typeof line === "string" ? line : JSON.stringify(line)}\n`);
  await request("GET", "/healthz");
  socket.end();
}

/** Records the command lines of all processes. */
function recordCommandLines(): void {
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      seen.push(readFileSync(`/proc/${pid}/cmdline`, "utf8"));
    } catch {
      // The process has ended.
    }
  }
}

function filesBelow(dir: string): string[] {
  return readdirSync(dir, { recursive: true, encoding: "utf8" })
    .map((name) => join(dir, name))
    .filter((path) => statSync(path).isFile());
}

/** Returns the names of the secrets in `text`. */
function secretsIn(text: string): string[] {
  return [...secrets].filter(([, secret]) => text.includes(secret)).map(([name]) => name);
}

async function createToken(
  kind: string,
  name: string,
  ...more: readonly string[]
): Promise<string> {
  const run = fleet.spawn("fleet-coordinator", ["token", "create", name, "--kind", kind, ...more], {
    FLEET_COORDINATOR_URL: `http://127.0.0.1:${fleet.ports.http}`,
    FLEET_OPERATOR_TOKEN: OPERATOR_TOKEN,
  });
  recordCommandLines();
  expect(await run.exit()).toBe(0);
  const secret = await until("the token is printed", () => run.out().trim() || undefined);
  seen.push(...run.log);
  secrets.set(`${kind} token ${name}`, secret);
  return secret;
}

/** Makes common mistakes. */
async function makeMistakes(): Promise<void> {
  const instance = { instance_id: "i9", version: "1" };
  await request("GET", "/api/v1/agents", WRONG);
  await request("GET", `/api/v1/agents?token=${OPERATOR_TOKEN}`, PUSH_TOKEN);
  await request("DELETE", `/api/v1/tokens/${secrets.get("push token mast")}`, OPERATOR_TOKEN);
  await request("POST", "/api/v1/agents/register", PUSH_TOKEN, { node_id: "x", ...instance });
  await request("POST", "/api/v1/agents/register", ENROLL_TOKEN, {
    node_id: "x",
    token: ENROLL_TOKEN,
  });
  await request("POST", "/api/v1/tokens", OPERATOR_TOKEN, { name: PUSH_TOKEN, kind: "none" });
  const beat = { node_id: "mast", type: "heartbeat" };
  await sendLines({ ...beat, token: WRONG }, { ...beat, token: PUSH_TOKEN, type: "other" });
  await sendLines(`{"node_id":"mast","token":"${PUSH_TOKEN}",`);
  await sendLines({ ...beat, token: PUSH_TOKEN, timestamp: "no" }, { ...beat, token: PUSH_TOKEN });
  const hello = { type: "hello", protocol: 1, node_id: "hill", sensor: "s", token: WRONG };
  await sendLines({ ...hello, instance_id: "i", epoch: 1, spool_id: "s", first_seq: 1 });
  await sendLines({ ...hello, token: secrets.get("access token") });
}

/** Starts binaries with configs and tokens that are refused. */
async function startWrongly(): Promise<void> {
  const serve = ["serve", "--data-dir", ":memory:", "--http", "127.0.0.1:0"];
  const same = { FLEET_ENROLL_TOKEN: ENROLL_TOKEN, FLEET_OPERATOR_TOKEN: ENROLL_TOKEN };
  const config = fleet.write("bad.yaml", `{enroll_token: "${ENROLL_TOKEN}", http: {tls: 1}}`);
  const wrongFile = { FLEET_OPERATOR_TOKEN_FILE: `/none/${fleet.dir}` };
  const asked = { FLEET_COORDINATOR_URL: `http://127.0.0.1:${fleet.ports.http}` };
  const ended = [
    fleet.spawn("fleet-coordinator", serve, same),
    fleet.spawn("fleet-coordinator", serve, { FLEET_ENROLL_TOKEN: ENROLL_TOKEN, ...wrongFile }),
    fleet.spawn("fleet-coordinator", [...serve, "--config", config], same),
    fleet.spawn("fleet-coordinator", ["check-config", config]),
    fleet.spawn("fleet-coordinator", ["token", "list"], { ...asked, FLEET_OPERATOR_TOKEN: WRONG }),
    fleet.spawn("fleet-agent", ["doctor"], { ...asked, FLEET_ENROLL_TOKEN: ENROLL_TOKEN }),
    fleet.spawn("fleet-agent", ["--detect-only"], { ...asked, FLEET_ENROLL_TOKEN: ENROLL_TOKEN }),
  ];
  recordCommandLines();
  await Promise.all(ended.map((run) => run.exit()));
  runs.push(...ended);
  const refused = fleet.agent(
    "refused",
    { node: { name: "refused" }, sensors: [] },
    {
      FLEET_ENROLL_TOKEN: WRONG,
    },
  );
  await until("the agent is refused", () =>
    refused.log.some((line) => line.includes("refuses our token")),
  );
  refused.kill("SIGTERM");
  await refused.exit();
  runs.push(refused);
}

test("no secret appears in a log, a response, a command line, the metrics or the data directory, whatever happens", async () => {
  const script = fleet.write("count.sh", COUNTING_SH);
  const sensors = [{ name: "s", runtime: "shell", command: [script], mode: "stream" }];
  const first = await fleet.coordinator({}, {}, [], DEBUG);
  runs.push(first);
  const agent = fleet.agent("hill", { node: { name: "hill" }, sensors });
  runs.push(agent);
  await until("frames arrive", async () => ((await fleet.tracker("hill.s"))?.frames ?? 0) > 3);
  const identity = JSON.parse(fleet.read("state-hill/identity.json")) as Record<string, unknown>;
  const ofAgent = Object.values(identity).find((v) => typeof v === "string" && v.includes(".ey"));
  secrets.set("refresh token of the agent", ofAgent as string);
  recordCommandLines();

  await createToken("operator", "wall", "--role", "viewer");
  await createToken("push", "mast", "--nodes", "mast*");
  const enroll = await createToken("enroll", "hills");
  const node = { node_id: "mine", instance_id: "i1", version: "1" };
  const mine = (await request("POST", "/api/v1/agents/register", enroll, node)) as RegisterResponse;
  secrets.set("access token", mine.access_token);
  secrets.set("refresh token", mine.refresh_token);

  await makeMistakes();
  await startWrongly();
  await request("POST", "/api/v1/auth/rotate-key", OPERATOR_TOKEN);
  first.kill("SIGTERM");
  await first.exit();
  const next = { FLEET_ENROLL_TOKEN: NEW_ENROLL, FLEET_ENROLL_TOKEN_PREVIOUS: ENROLL_TOKEN };
  const second = await fleet.coordinator({}, next, [], DEBUG);
  runs.push(second);
  await fleet.untilState("hill", "LIVE");
  await request("POST", "/api/v1/agents/register", NEW_ENROLL, { ...node, instance_id: "i2" });
  recordCommandLines();

  for (const path of ["agents", "agents/mine", "trackers", "tokens", "audit", "auth/whoami"])
    await request("GET", `/api/v1/${path}`, OPERATOR_TOKEN);
  for (const path of ["/metrics", "/readyz", "/install.sh"]) await request("GET", path);

  const tracker = await until(
    "a tracker runs",
    async () => (await fleet.tracker("hill.s"))?.pid ?? undefined,
  );
  // An unexpected error, with its stack in the log.
  const database = new Database(join(fleet.dir, "data", "coordinator.db"));
  database.run("PRAGMA busy_timeout = 5000");
  database.run("DROP TABLE tokens");
  database.close();
  await request("POST", "/api/v1/tokens", OPERATOR_TOKEN, { name: "more", kind: "push" });
  expect(second.log.join("\n")).toContain("request failed");
  // A crash, with the runtime's report.
  second.kill("SIGSEGV");
  await second.exit();
  // A crash leaves the tracker behind.
  process.kill(tracker, "SIGKILL");
  agent.kill("SIGTERM");
  await agent.exit();

  const keys = filesBelow(join(fleet.dir, "data")).filter((path) => path.endsWith(".key"));
  expect(keys).toHaveLength(2);
  const text = [...seen, ...runs.flatMap((run) => [...run.log, run.out()])].join("\n");
  for (const path of keys) {
    const key = readFileSync(path);
    for (const encoding of ["hex", "base64", "base64url", "latin1"] as const)
      expect(text.includes(key.toString(encoding))).toBe(false);
  }
  expect(secretsIn(text)).toEqual([]);
  for (const path of filesBelow(join(fleet.dir, "data")))
    expect([path, secretsIn(readFileSync(path, "latin1"))]).toEqual([path, []]);
  // Checks the search itself: this secret is where it belongs.
  expect(secretsIn(fleet.read("state-hill/identity.json"))).toEqual(["refresh token of the agent"]);
}, 90_000);
