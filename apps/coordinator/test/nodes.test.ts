/** What happens to nodes when the built coordinator is killed and restarted, and when an operator removes or blocks them. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { agentHealthSchema, type NodeDetail, nodesApi } from "@fleet/protocol";
import { freePort, nodeId } from "../src/testing.ts";
import {
  ENROLL_TOKEN,
  Fleet,
  OPERATOR_TOKEN,
  PUSH_TOKEN,
  recordingTracker,
  until,
} from "./rig/fleet.ts";
import { COUNTING_SH } from "./rig/sensors.ts";

let fleet: Fleet;
beforeEach(() => {
  fleet = new Fleet();
});
afterEach(() => fleet.close());

/** Intervals so long that no heartbeat arrives during a test. */
const slow = { heartbeat_interval: "10m", stale_after: "30m" };

function counting(): Record<string, unknown> {
  const script = fleet.write("count.sh", COUNTING_SH);
  return { name: "s", runtime: "shell", command: [script], mode: "stream", restart: "always" };
}

async function operator(method: string, path: string): Promise<number> {
  const { status } = await fetch(`http://127.0.0.1:${fleet.ports.http}/api/v1/${path}`, {
    method,
    headers: { Authorization: `Bearer ${OPERATOR_TOKEN}` },
  });
  return status;
}

async function register(node: {
  readonly node_id: string;
  readonly agent_url?: string;
}): Promise<number> {
  const { status } = await fetch(`http://127.0.0.1:${fleet.ports.http}/api/v1/agents/register`, {
    method: "POST",
    headers: { Authorization: `Bearer ${ENROLL_TOKEN}`, "X-Fleet-Protocol-Version": "1" },
    body: JSON.stringify({ instance_id: "i1", version: "1", ...node }),
  });
  return status;
}

const detail = (id: string): Promise<NodeDetail> =>
  fleet.api.call(nodesApi.get, { params: { id } });

describe("a coordinator that is killed and restarted", () => {
  test("gets every node back without help, as the same instance (R3)", async () => {
    const first = await fleet.coordinator({ registry: slow });
    fleet.agent("old", { node: { name: "old" }, sensors: [counting()] });
    await fleet.untilState("old", "LIVE");
    await until("frames arrive", async () => ((await fleet.tracker("old.s"))?.frames ?? 0) > 3);
    const before = await detail("old");
    // A node that has just registered also survives.
    fleet.agent("new", { node: { name: "new" }, sensors: [counting()] });
    await until(
      "a session sends frames",
      async () => ((await fleet.tracker("new.s"))?.frames ?? 0) > 0,
    );
    first.kill("SIGKILL");
    await first.exit();
    await fleet.coordinator({ registry: slow });
    for (const id of ["old", "new"]) expect((await fleet.untilState(id, "LIVE")).epoch).toBe(1);
    const after = await detail("old");
    expect(after.instance_id).toBe(before.instance_id);
    expect(after.history).toEqual(before.history);
  });

  test("probes the known nodes, and one that responds is LIVE without contacting it (R2)", async () => {
    const first = await fleet.coordinator({ registry: slow });
    const port = freePort();
    const url = `http://127.0.0.1:${port}`;
    const health = { listen: `127.0.0.1:${port}` };
    fleet.agent("agent", { node: { name: "agent" }, sensors: [], health });
    expect((await fleet.untilState("agent", "LIVE")).agent_url).toBe(url);
    await until("the agent reports that it is registered", async () => {
      const reported = agentHealthSchema.parse(await (await fetch(`${url}/health`)).json());
      return reported.node_id === "agent" && reported.status === "registered";
    });
    // Never contacts the coordinator by itself.
    using mute = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: () => Response.json({ node_id: "mute" }),
    });
    await register({ node_id: "mute", agent_url: `http://127.0.0.1:${mute.port}` });
    await register({ node_id: "gone", agent_url: `http://127.0.0.1:${freePort()}` });
    first.kill("SIGKILL");
    await first.exit();
    await fleet.coordinator({ registry: slow });
    await fleet.untilState("mute", "LIVE");
    await fleet.untilState("agent", "LIVE");
    expect((await fleet.node("gone"))?.state).toBe("UNKNOWN");
  });

  test("keeps probing nodes that registered only an address, and gets them back at once (R1, R2, R5)", async () => {
    const registry = { heartbeat_interval: "50ms", stale_after: "30m" };
    const first = await fleet.coordinator({ registry });
    let asked = 0;
    using mast = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: () => {
        asked++;
        return Response.json({ node_id: "mast" });
      },
    });
    const body = JSON.stringify({ node_id: "mast", agent_url: mast.url.origin });
    const headers = { Authorization: `Bearer ${ENROLL_TOKEN}` };
    const url = `http://127.0.0.1:${fleet.ports.http}/api/nodes/register`;
    const { status } = await fetch(url, { method: "POST", headers, body });
    expect(status).toBe(200);
    await until("the node is probed repeatedly", () => asked > 3);
    const { last_seen: before } = await detail("mast");
    await until("its answers count", async () => (await detail("mast")).last_seen > before);
    first.kill("SIGKILL");
    await first.exit();
    await fleet.coordinator({ registry: slow });
    expect((await fleet.untilState("mast", "LIVE")).epoch).toBe(1);
  });

  test("keeps blocked nodes blocked (R4)", async () => {
    const first = await fleet.coordinator();
    expect(await operator("PUT", "blocked-nodes/stranger")).toBe(204);
    first.kill("SIGKILL");
    await first.exit();
    await fleet.coordinator();
    expect(await register({ node_id: "stranger" })).toBe(403);
  });
});

describe("an operator", () => {
  test("removes a live agent, which returns with a higher epoch and continues its frames (R4, R9)", async () => {
    await fleet.coordinator();
    fleet.agent("a", { node: { name: "a" }, sensors: [counting()] });
    const frames = async (): Promise<number> => (await fleet.tracker("a.s"))?.frames ?? 0;
    await until("frames arrive", async () => (await frames()) > 3);
    expect(await operator("DELETE", "agents/a")).toBe(204);
    const back = await until("the node is back", async () => {
      const node = await fleet.node("a");
      return node?.epoch === 2 && node;
    });
    expect(back.state).toBe("LIVE");
    const seen = await frames();
    await until("more frames arrive", async () => (await frames()) > seen + 3);
    expect((await detail("a")).history.map((h) => h.event)).toContain("removed");
  });

  test("blocks a live agent, which waits, keeps its frames, and returns when unblocked (R4)", async () => {
    const file = join(fleet.dir, "frames");
    const command = recordingTracker(file);
    await fleet.coordinator({ tracker: { command, stop_grace: "1s" } });
    const agent = fleet.agent("a", { node: { name: "a" }, sensors: [counting()] });
    const recorded = (): number[] =>
      fleet
        .read("frames")
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => (JSON.parse(line) as { delay: number[] }).delay[0]!);
    await until("frames arrive", () => recorded().length > 3);
    expect(await operator("DELETE", "agents/a?block=true")).toBe(204);
    await until("the agent logs it", () =>
      agent.log.find((line) => line.includes("an operator has blocked this node")),
    );
    expect(await fleet.node("a")).toBeUndefined();
    expect(agent.process.exitCode).toBeNull();
    const before = recorded().length;
    expect(await operator("DELETE", "blocked-nodes/a")).toBe(204);
    expect((await fleet.untilState("a", "LIVE")).epoch).toBe(2);
    await until("the kept frames arrive", () => recorded().length > before + 10);
    const numbers = [...new Set(recorded())];
    expect(numbers).toEqual(Array.from({ length: numbers.length }, (_, n) => numbers[0]! + n));
  });

  test("removes a plain node, which closes its connection, and blocks it: its frames are refused (R4, R10)", async () => {
    await fleet.coordinator();
    const line = (n: number): string =>
      `${JSON.stringify({ node_id: "mast", token: PUSH_TOKEN, timestamp: n, delay: [], doppler: [], snr: [] })}\n`;
    const connect = async (): Promise<{ send: (n: number) => void; closed: Promise<void> }> => {
      const closed = Promise.withResolvers<void>();
      const socket = await Bun.connect({
        hostname: "127.0.0.1",
        port: fleet.ports.frames,
        socket: { data() {}, close: () => closed.resolve() },
      });
      return { send: (n) => void socket.write(line(n)), closed: closed.promise };
    };
    const first = await connect();
    first.send(1);
    await fleet.untilState("mast", "LIVE");
    expect(await operator("DELETE", "agents/mast")).toBe(204);
    await first.closed;
    const second = await connect();
    second.send(2);
    await fleet.untilState("mast", "LIVE");
    expect(await operator("DELETE", "agents/mast?block=true")).toBe(204);
    await second.closed;
    const third = await connect();
    third.send(3);
    await until("the refusal is counted", async () => {
      const response = await fetch(`http://127.0.0.1:${fleet.ports.http}/metrics`);
      return /reason="node_blocked"\} [1-9]/.test(await response.text());
    });
    expect(await fleet.node("mast")).toBeUndefined();
  });

  test("need not clean up: an ephemeral node that is gone is forgotten (R4)", async () => {
    const registry = { heartbeat_interval: "50ms", stale_after: "200ms", dead_after: "200ms" };
    const retention = { node_retention: { persistent: "never", ephemeral: "500ms" } };
    await fleet.coordinator({ registry: { ...registry, ...retention } });
    const pod = fleet.agent("pod", { node: { name: "pod", class: "ephemeral" }, sensors: [] });
    const box = fleet.agent("box", { node: { name: "box" }, sensors: [] });
    await fleet.untilState("pod", "LIVE");
    await fleet.untilState("box", "LIVE");
    pod.kill("SIGKILL");
    box.kill("SIGKILL");
    await until("the pod is forgotten", async () => {
      const [node, ...others] = await fleet.nodes();
      return others.length === 0 && node?.node_id === nodeId("box") && node.state === "DEAD";
    });
  });
});
