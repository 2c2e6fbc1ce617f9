/**
 * Runs inside a network namespace whose name server swallows every packet (silent-names.test.ts): a built coordinator that
 * knows many nodes by names nobody resolves, killed and started again, while others register and check in. Prints one
 * line of JSON with what became of these requests.
 */
import { createSocket } from "node:dgram";
import { createServer } from "node:net";
import { ENROLL_TOKEN, Fleet } from "./fleet.ts";

const DEAD_NODES = 60;
const DEAD_MINIMAL = 300;
const CHECK_INS = 200;
/** An agent gives up after this long. */
const GIVE_UP_MS = 4000;

interface Seen {
  answered: number;
  failed: number;
  slowestMs: number;
}

const fleet = new Fleet();
let swallowed = 0;
const udp = createSocket("udp4", () => swallowed++);
await new Promise<void>((resolve) => udp.bind(53, "127.0.0.1", resolve));
createServer(() => {}).listen(53, "127.0.0.1");

const trackers = Array.from({ length: 3 }, (_, n) => ({
  name: `fetched${n}`,
  mode: "http",
  detection_url: `http://source${n}.example/frame`,
  interval: "1s",
}));
const registry = { stale_after: "30m" };

async function post(path: string, body: unknown, token: string): Promise<Response> {
  return fetch(`http://127.0.0.1:${fleet.ports.http}${path}`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "x-fleet-protocol-version": "1" },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(GIVE_UP_MS),
  });
}

async function note(request: Promise<Response>, seen: Seen): Promise<void> {
  const startMs = performance.now();
  try {
    const { ok } = await request;
    seen.slowestMs = Math.max(seen.slowestMs, Math.round(performance.now() - startMs));
    if (ok) seen.answered++;
    else seen.failed++;
  } catch {
    seen.failed++;
  }
}

const register = (node: Record<string, unknown>): Promise<Response> =>
  post("/api/v1/agents/register", { instance_id: "i1", version: "1", ...node }, ENROLL_TOKEN);

try {
  const first = await fleet.coordinator({ registry });
  const { access_token: token } = (await (await register({ node_id: "alive" })).json()) as {
    readonly access_token: string;
  };
  for (let n = 0; n < DEAD_NODES; n++)
    await register({ node_id: `dead${n}`, agent_url: `http://dead${n}.example:8080` });
  for (let n = 0; n < DEAD_MINIMAL; n++)
    await post(
      "/api/nodes/register",
      { node_id: `minimal${n}`, agent_url: `http://minimal${n}.example:8080` },
      ENROLL_TOKEN,
    );
  first.kill("SIGKILL");
  await first.exit();
  await fleet.coordinator({ registry, trackers });
  const seen: Seen = { answered: 0, failed: 0, slowestMs: 0 };
  const pending: Promise<void>[] = [];
  for (let n = 0; n < CHECK_INS; n++) {
    const heartbeat = { instance_id: "i1", epoch: 1 };
    pending.push(note(post("/api/v1/agents/alive/heartbeat", heartbeat, token), seen));
    pending.push(note(register({ node_id: `new${n}` }), seen));
    await Bun.sleep(20);
  }
  await Promise.all(pending);
  console.log(JSON.stringify({ ...seen, expected: CHECK_INS * 2, swallowed }));
} catch (error) {
  console.error((error as Error).stack, swallowed);
} finally {
  await fleet.close();
  udp.close();
  process.exit(0);
}
