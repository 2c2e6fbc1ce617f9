/**
 * A network that is cut between two machines, for real: two network namespaces, a pair of virtual interfaces, one of them
 * taken down. Nobody closes anything, nobody gets an error; both ends have to find out by themselves. The rules behind it
 * are tested with a stepped clock beside the code; this waits for real time, once.
 */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { ENROLL_TOKEN, Fleet, OPERATOR_TOKEN, PUSH_TOKEN, type Run, until } from "./harness.ts";
import { COUNTING_SH } from "./sensors.ts";

const TOOLS = ["unshare", "nsenter", "ip"] as const;
const CENTRE = "192.0.2.1";
const FIELD = "192.0.2.2";
const HTTP = 7700;
const FRAMES = 30_050;
/** The limit is 30 s; a loaded machine may be late with everything else. */
const FOUND_OUT_MS = 60_000;

/** In CI nothing is missing; elsewhere a test that can't be run says why. */
function lacksMeans(): boolean {
  const missing = TOOLS.filter((tool) => Bun.which(tool) === null);
  if (process.env["CI"] !== undefined || (process.getuid?.() === 0 && missing.length === 0))
    return false;
  console.warn(`cut-link: skipped: needs root, and ${TOOLS.join(", ")}`);
  return true;
}

/** A plain node that says it is there, and then nothing any more; its own end is kept alive by TCP, too. */
const PLAIN = `
const socket = await Bun.connect({ hostname: "${CENTRE}", port: ${FRAMES}, socket: {
  data() {}, close() { console.log("closed"); process.exit(); },
} });
socket.setKeepAlive(true, 10_000);
socket.write(${JSON.stringify(JSON.stringify({ node_id: "mast", token: PUSH_TOKEN, type: "heartbeat" }))} + "\\n");`;

/** A machine as far as its network goes, for as long as the process that holds it. */
class Machine {
  readonly #holder = Bun.spawn(["unshare", "--net", "sleep", "1000"], {
    stdio: ["ignore", "ignore", "ignore"],
  });

  get pid(): number {
    return this.#holder.pid;
  }

  /** The command as it has to be called to run there. */
  on(...command: string[]): string[] {
    return ["nsenter", "--net", `--target=${this.pid}`, "--", ...command];
  }

  async run(...command: string[]): Promise<string> {
    const child = Bun.spawn(this.on(...command), { stdio: ["ignore", "pipe", "inherit"] });
    const text = await child.stdout.text();
    if ((await child.exited) !== 0) throw new Error(`failed: ${command.join(" ")}`);
    return text;
  }

  /** Once `unshare` has made the namespace, it has its own loopback, which is down. */
  async up(): Promise<void> {
    await until(
      "a network of its own",
      async () => (await Bun.file(`/proc/${this.pid}/comm`).text()).trim() === "sleep",
    );
    await this.run("ip", "link", "set", "lo", "up");
  }

  end(): void {
    this.#holder.kill("SIGKILL");
  }
}

async function connect(centre: Machine, field: Machine): Promise<void> {
  await Promise.all([centre.up(), field.up()]);
  await centre.run(
    "ip",
    "link",
    "add",
    "c0",
    "type",
    "veth",
    "peer",
    "name",
    "f0",
    "netns",
    String(field.pid),
  );
  await centre.run("ip", "address", "add", `${CENTRE}/24`, "dev", "c0");
  await field.run("ip", "address", "add", `${FIELD}/24`, "dev", "f0");
  await centre.run("ip", "link", "set", "c0", "up");
  await field.run("ip", "link", "set", "f0", "up");
}

/** A number the coordinator shows in its metrics; 0 while it shows none. */
async function metric(centre: Machine, name: string): Promise<number> {
  // Each asking is a process of its own.
  await Bun.sleep(500);
  const ask = `process.stdout.write(await (await fetch("http://127.0.0.1:${HTTP}/metrics")).text())`;
  const text = await centre.run(process.execPath, "-e", ask);
  const line = text.split("\n").find((l) => l.startsWith(`${name} `));
  return Number(line?.split(" ")[1] ?? 0);
}

async function startCoordinator(fleet: Fleet, centre: Machine): Promise<void> {
  const script = join(import.meta.dir, "recording-tracker.ts");
  const command = [process.execPath, script, "{port}", join(fleet.dir, "{stream}")];
  const config = fleet.write("c.yaml", JSON.stringify({ tracker: { command } }));
  const quota = ["--config", config, "--data-dir", join(fleet.dir, "data")];
  const ports = ["--http", `0.0.0.0:${HTTP}`, "--frames", `0.0.0.0:${FRAMES}`];
  const env = {
    FLEET_ENROLL_TOKEN: ENROLL_TOKEN,
    FLEET_OPERATOR_TOKEN: OPERATOR_TOKEN,
    FLEET_PUSH_TOKEN: PUSH_TOKEN,
  };
  const args = ["serve", ...quota, ...ports];
  const { log } = fleet.spawn("fleet-coordinator", args, env, centre.on());
  await until("the coordinator is ready", () => log.some((line) => line.includes('"msg":"ready"')));
}

/** With one sensor that has something to say all the time, and one that never has. */
function startAgent(fleet: Fleet, field: Machine): Run {
  const sensor = (name: string, shell: string) => ({
    name,
    runtime: "native",
    command: ["/bin/sh", "-c", shell],
  });
  const sensors = [sensor("busy", COUNTING_SH), sensor("idle", "exec sleep 1000")];
  const node = { node: { name: "radar1" }, runtimes: ["native"], sensors };
  const config = fleet.write("a.yaml", JSON.stringify(node));
  const args = ["--config", config, "--state-dir", join(fleet.dir, "state")];
  const env = {
    FLEET_COORDINATOR_URL: `http://${CENTRE}:${HTTP}`,
    FLEET_ENROLL_TOKEN: ENROLL_TOKEN,
  };
  return fleet.spawn("fleet-agent", args, env, field.on());
}

describe.skipIf(lacksMeans())("a link that is cut without a word", () => {
  test("is found out within 30 s by both ends, of idle and busy sessions and of plain nodes, and is got over (T1, A13)", async () => {
    const fleet = new Fleet();
    const [centre, field] = [new Machine(), new Machine()];
    try {
      await connect(centre, field);
      await startCoordinator(fleet, centre);
      const agent = startAgent(fleet, field);
      const plain = Bun.spawn(field.on(process.execPath, "-e", PLAIN), {
        stdio: ["ignore", "pipe", "inherit"],
      });
      const connections = () => metric(centre, "fleet_frame_connections");
      await until("two sessions and a plain node", async () => (await connections()) === 3);
      await until("frames", () => fleet.read("radar1.busy").length > 1000);

      await field.run("ip", "link", "set", "f0", "down");
      await until("the coordinator knows", async () => (await connections()) === 0, FOUND_OUT_MS);
      expect(await metric(centre, 'fleet_lines_refused_total{reason="silent"}')).toBe(2);
      const lost = (): string[] =>
        agent.log.filter((line) => line.includes("nothing heard for 30 s"));
      await until("the agent knows of both", () => lost().length === 2, FOUND_OUT_MS);
      expect(await plain.stdout.text()).toBe("closed\n");

      await field.run("ip", "link", "set", "f0", "up");
      await until("both sessions are back", async () => (await connections()) === 2);
    } finally {
      await fleet.close();
      centre.end();
      field.end();
    }
  }, 180_000);
});
