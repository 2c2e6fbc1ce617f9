/** Runs the README's Compose commands, read from the README, in the root of the repository. (H1) */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "bun:test";
import { ApiClient } from "../../packages/api-client/src/index.ts";
import { nodesApi, type NodeView, trackersApi } from "../../packages/protocol/src/index.ts";
import { type Engine, until } from "./engine.ts";

const ROOT = join(import.meta.dir, "../..");
const HTTP_PORT = 7700;
const UP_MS_MAX = 120_000;
/** The names of the node services. */
const NODES = ["alpine", "native", "node", "python"];
/** Uses the local stand-ins, because no registry is reachable, and images that are already built. */
const IMAGES = {
  FLEET_TARGET_SUFFIX: "-dist",
  FLEET_PYTHON_IMAGE: "python",
  FLEET_NODE_IMAGE: "node",
  FLEET_ALPINE_IMAGE: "busybox",
};
const OURS = "label=com.docker.compose.project";

/** The parts of `docker inspect` that are used here. */
interface Inspected {
  readonly Name: string;
  readonly Config: { readonly User: string };
  readonly State: { readonly Status: string; readonly ExitCode: number };
  readonly HostConfig: {
    readonly ReadonlyRootfs: boolean;
    readonly Privileged: boolean;
    readonly CapAdd: readonly string[] | null;
    readonly CapDrop: readonly string[];
    readonly SecurityOpt: readonly string[];
    readonly Memory: number;
    readonly PortBindings: Readonly<Record<string, readonly { readonly HostIp: string }[]>> | null;
  };
}

export function testCompose(engineOf: () => Engine): void {
  describe.each(composeCommands())("the README's Compose commands, run with %s,", (compose) => {
    const [up, look, down, ...others] = readmeBlocks(compose);
    let token = "";
    let client: ApiClient;

    async function live(epoch: number): Promise<readonly NodeView[]> {
      return until(`all nodes are LIVE in epoch ${epoch}`, async () => {
        const reply = await client.attempt(nodesApi.list, {});
        if (reply.at !== "ok") return undefined;
        const nodes = reply.body.agents.filter((n) => n.state === "LIVE" && n.epoch === epoch);
        return nodes.length === NODES.length && nodes;
      });
    }

    test(
      "start every node, LIVE and with confirmed tracks",
      async () => {
        const engine = engineOf();
        expect(others).toEqual([]);
        await sh(engine, up!);
        const ask = look!.split("\n").find((line) => line.startsWith("token="))!;
        token = await sh(engine, `${ask}\nprintf %s "$token"`);
        expect(token).toMatch(/^fle_o_[A-Za-z0-9]{43}$/);
        const unix = await engine.relay(HTTP_PORT);
        client = new ApiClient({ url: "http://localhost", unix, token });
        const nodes = await live(1);
        expect(nodes.map(({ node_id }): string => node_id).toSorted()).toEqual(NODES);
        await until("every node has a confirmed track", async () => {
          const reply = await client.attempt(trackersApi.list, {});
          if (reply.at !== "ok") return false;
          return reply.body.trackers.filter(({ tracks }) => tracks > 0).length === NODES.length;
        });
        const shown = await sh(engine, look!);
        expect(shown.match(/"state":"LIVE"/g)).toHaveLength(NODES.length);
        expect(shown).toContain('"stream_id":"python.radar"');
        expect(shown).toContain('"msg":"session open"');
      },
      UP_MS_MAX,
    );

    test("start no container with privileges or a visible token", async () => {
      const engine = engineOf();
      const ids = (await engine.docker("ps", "--all", "--quiet", "--filter", OURS)).split("\n");
      const text = await engine.docker("inspect", ...ids);
      expect(text).not.toContain(token);
      const containers = JSON.parse(text) as readonly Inspected[];
      expect(containers.length).toBeGreaterThan(NODES.length);
      for (const { Name, Config, State, HostConfig } of containers) {
        const opened = Object.values(HostConfig.PortBindings ?? {}).flat();
        expect([Name, HostConfig]).toMatchObject([
          Name,
          { ReadonlyRootfs: true, Privileged: false, CapAdd: null, CapDrop: ["ALL"] },
        ]);
        expect(HostConfig.SecurityOpt).toEqual(["no-new-privileges:true"]);
        expect(HostConfig.Memory).toBeGreaterThan(0);
        expect(opened.map(({ HostIp }) => HostIp)).toEqual(opened.map(() => "127.0.0.1"));
        // Running containers have an unprivileged user; the others exited with 0.
        if (State.Status === "running") expect(Config.User).toMatch(/^655\d\d:655\d\d$/);
        else expect([Name, State.Status, State.ExitCode]).toEqual([Name, "exited", 0]);
      }
      const logs = await sh(engine, `${compose} logs --no-color`);
      expect(logs).toContain("registered");
      expect(logs).not.toContain(token);
    });

    test("start a coordinator that recovers from a crash, with every node (A13, R3)", async () => {
      const engine = engineOf();
      const container = (await sh(engine, `${compose} ps --quiet coordinator`)).trim();
      await engine.crash(container);
      const restarts = ["inspect", "--format={{.RestartCount}}", container];
      await until("it is started again", async () => (await engine.docker(...restarts)) === "1");
      await live(1);
    });

    test(
      "keep every node's identity when its container is recreated (A14)",
      async () => {
        const engine = engineOf();
        const seen = (nodes: readonly NodeView[]): unknown =>
          Object.fromEntries(nodes.map(({ node_id, first_seen }) => [node_id, first_seen]));
        const before = seen(await live(1));
        await sh(engine, up!.replace(" up ", " up --force-recreate "));
        expect(seen(await live(2))).toEqual(before);
      },
      UP_MS_MAX,
    );

    test(
      "leave nothing behind",
      async () => {
        const engine = engineOf();
        await sh(engine, down!);
        for (const list of [
          ["ps", "--all"],
          ["volume", "ls"],
          ["network", "ls"],
        ])
          expect(await engine.docker(...list, "--quiet", "--filter", OURS)).toBe("");
      },
      UP_MS_MAX,
    );
  });
}

/** The Compose commands of this machine: docker-compose, and the Docker plugin if installed. */
function composeCommands(): readonly string[] {
  const own = Bun.spawnSync(["docker", "compose", "version"]).exitCode === 0;
  return ["docker-compose", ...(own ? ["docker compose"] : [])];
}

/** Returns the `sh` blocks in the README's section on Compose, with `command` in place of `docker compose`. */
function readmeBlocks(command: string): readonly string[] {
  const readme = readFileSync(join(ROOT, "README.md"), "utf8");
  const section = /^## .*Compose\n(.*?)^## /ms.exec(readme)?.[1] ?? "";
  return [...section.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, text = ""]) =>
    text.replaceAll("docker compose", command),
  );
}

/** Runs a script in the engine's network, in the root of the repository. Returns its stdout. Throws if it fails. */
async function sh(engine: Engine, script: string): Promise<string> {
  const options = { cwd: ROOT, env: IMAGES, timeoutMs: UP_MS_MAX };
  const { code, stdout, stderr } = await engine.inside(["sh", "-ec", script], options);
  if (code !== 0) throw new Error(`${script} ended with ${code}: ${stdout}${stderr}`);
  return stdout;
}
