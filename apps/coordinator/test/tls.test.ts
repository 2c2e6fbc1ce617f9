/** The built agent and coordinator over TLS: HTTP through a proxy that terminates it, frames directly to the frame port. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { join } from "node:path";
import { TestAuthority } from "@fleet/daemon/testing";
import { ENROLL_TOKEN, Fleet, OPERATOR_TOKEN, recordingTracker, until } from "./rig/fleet.ts";
import { COUNTING_SH } from "./rig/sensors.ts";

const authority = new TestAuthority();
let fleet: Fleet;
let proxy: Bun.Server<undefined> | undefined;

beforeEach(() => {
  fleet = new Fleet();
});

afterEach(async () => {
  await fleet.close();
  void proxy?.stop(true);
});

/** Starts a proxy that terminates TLS and forwards requests in the clear with their original host. */
function httpsProxy(): string {
  const { cert, key } = authority.issue();
  proxy = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    tls: { cert, key },
    idleTimeout: 0,
    fetch(request) {
      const { pathname, search } = new URL(request.url);
      const { method, headers, body } = request;
      const to = `http://127.0.0.1:${fleet.ports.http}${pathname}${search}`;
      return fetch(to, { method, headers, body, redirect: "manual" });
    },
  });
  return `https://localhost:${proxy.port}`;
}

async function coordinatorOverTls(): Promise<{ url: string; ca: string }> {
  const { cert, key } = authority.issue();
  const file = join(fleet.dir, "frames");
  await fleet.coordinator({
    tcp_server: { tls: { cert: fleet.write("cert.pem", cert), key: fleet.write("key.pem", key) } },
    tracker: { command: recordingTracker(file), stop_grace: "1s" },
  });
  return { url: httpsProxy(), ca: fleet.write("ca.pem", authority.cert) };
}

const sensors = [{ name: "count", runtime: "native", command: ["/bin/sh", "-c", COUNTING_SH] }];

test("an agent with its coordinator's CA registers and sends frames, and its doctor reports no problem (H5, A9)", async () => {
  const { url, ca } = await coordinatorOverTls();
  const config = { coordinator: { url, ca_file: ca }, runtimes: ["native"], sensors };
  // The agent ignores the image's own CA settings.
  const image = {
    FLEET_COORDINATOR_URL: "",
    SSL_CERT_FILE: "/nowhere",
    NODE_EXTRA_CA_CERTS: "/nowhere",
  };
  fleet.agent("radar1", { ...config, node: { name: "radar1" } }, image);
  await fleet.untilState("radar1", "LIVE");
  await until("frames reach the tracker", () => fleet.read("frames").split("\n").length > 5);
  const doctor = fleet.spawn(
    "fleet-agent",
    [
      "doctor",
      "--json",
      "--config",
      fleet.write("d.yaml", JSON.stringify(config)),
      "--state-dir",
      join(fleet.dir, "state-radar1"),
    ],
    {
      FLEET_ENROLL_TOKEN: ENROLL_TOKEN,
    },
  );
  await doctor.exit();
  const found = await until("the report is printed", () => doctor.out() !== "" && doctor.out());
  const { checks } = JSON.parse(found) as {
    checks: { id: string; status: string; message: string }[];
  };
  const of = (id: string) => checks.find((check) => check.id === id);
  expect(of("coordinator")).toMatchObject({ status: "ok" });
  expect(of("frames")).toMatchObject({ status: "ok" });
  expect(of("frames")!.message).toContain("TLS");
}, 30_000);

test("an agent without the CA logs once what to do, and sends no token (H5)", async () => {
  const { url } = await coordinatorOverTls();
  const agent = fleet.agent(
    "radar1",
    { node: { name: "radar1" } },
    { FLEET_COORDINATOR_URL: url, FLEET_COORDINATOR_CA_FILE: "" },
  );
  const warnings = (): string[] => agent.log.filter((line) => line.includes("certificate"));
  await until("the problem is logged", () => warnings().length > 0);
  expect(warnings()[0]).toContain("coordinator.ca_file (FLEET_COORDINATOR_CA_FILE)");
  expect(await fleet.node("radar1")).toBeUndefined();
  agent.kill("SIGTERM");
  await agent.exit();
  expect(warnings()).toHaveLength(1);
}, 30_000);

test("agents, health check and token command work with a coordinator that serves https itself (H5)", async () => {
  const { cert, key } = authority.issue();
  const tls = { cert: fleet.write("cert.pem", cert), key: fleet.write("key.pem", key) };
  const ca = fleet.write("ca.pem", authority.cert);
  await fleet.coordinator({ http: { tls }, tcp_server: { tls } });
  const url = `https://localhost:${fleet.ports.http}`;
  const config = { coordinator: { url, ca_file: ca }, runtimes: ["native"], sensors };
  const agent = fleet.agent(
    "radar1",
    { ...config, node: { name: "radar1" } },
    { FLEET_COORDINATOR_URL: "" },
  );
  await until("the agent registers", () =>
    agent.log.some((line) => line.includes('"msg":"registered"')),
  );
  const http = `127.0.0.1:${fleet.ports.http}`;
  const file = join(fleet.dir, "coordinator.yaml");
  const health = fleet.spawn("fleet-coordinator", ["health", "--config", file, "--http", http]);
  const list = (...args: readonly string[]) =>
    fleet.spawn("fleet-coordinator", ["token", "list", "--url", url, ...args], {
      FLEET_OPERATOR_TOKEN: OPERATOR_TOKEN,
    });
  const [trusting, untrusting] = [list("--ca-file", ca), list()];
  expect(await Promise.all([health, trusting, untrusting].map((run) => run.exit()))).toEqual([
    0, 0, 1,
  ]);
  await until("the reason is logged", () =>
    untrusting.log.some((line) => line.includes("cannot be reached")),
  );
  await until("the list is printed", () => trusting.out().includes("env:FLEET_OPERATOR_TOKEN"));
}, 30_000);
