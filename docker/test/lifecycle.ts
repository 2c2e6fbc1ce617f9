/** Tests what survives when containers of agents and of the coordinator are stopped, killed and restarted. (A8, A12, A13, R3, R9) */
import { describe, expect, test } from "bun:test";
import type { NodeView } from "../../packages/protocol/src/index.ts";
import { until } from "./engine.ts";
import { type AgentOptions, type Fleet, upTo } from "./fleet.ts";
import { build } from "./stock.ts";

const FRAMES = 20;
const NATIVE: AgentOptions = { image: "empty", runtime: "native", sensor: ["numbers", "20000"] };
const SHELL: AgentOptions = { image: "busybox", runtime: "shell", sensor: ["numbers.sh"] };

export function testLifecycle(fleetOf: () => Fleet): void {
  describe("an agent's container", () => {
    // Stop signals of common images: databases, web servers, proxies and whole systems.
    test.each([
      ["SIGINT", 130],
      ["SIGQUIT", 131],
      ["SIGWINCH", 156],
      ["SIGUSR1", 138],
      ["SIGRTMIN+3", 165],
    ] as const)("whose image is stopped by %s stops in order (A8, A12)", async (signal, code) => {
      const fleet = fleetOf();
      const name = signal.toLowerCase().replace("+", "-");
      await build(fleet.engine, name, ["FROM busybox", `STOPSIGNAL ${signal}`]);
      await fleet.runAgent(name, { ...SHELL, image: name });
      await fleet.untilFrames(name, FRAMES);
      await fleet.engine.docker("stop", name);
      expect(await fleet.ending(name)).toEqual({ code, oom: false });
      expect((await fleet.node(name))?.state).toBe("SHUTDOWN");
      expect(fleet.frames(name)).toEqual(upTo(fleet.lastFrame(name)));
      await fleet.remove(name);
    });

    test.each(["--init", "--tty", "--cpus=0.1", "--pids-limit=24", "--ulimit=nofile=64:64"])(
      "run with %s works and stops in order (A8)",
      async (flag) => {
        const fleet = fleetOf();
        const name = `with${flag.replace(/=.*/, "")}`;
        await fleet.runAgent(name, { ...NATIVE, flags: [flag] });
        await fleet.untilFrames(name, FRAMES);
        await fleet.engine.docker("stop", name);
        expect(await fleet.ending(name)).toEqual({ code: 143, oom: false });
        expect(fleet.frames(name)).toEqual(upTo(fleet.lastFrame(name)));
        await fleet.remove(name);
      },
    );

    test("stops in time although its coordinator does not respond (A8)", async () => {
      const fleet = fleetOf();
      await fleet.runAgent("unheard", NATIVE);
      await fleet.untilFrames("unheard", FRAMES);
      await fleet.engine.docker("pause", "coordinator");
      await fleet.engine.docker("stop", "--time=10", "unheard");
      await fleet.engine.docker("unpause", "coordinator");
      expect(await fleet.ending("unheard")).toEqual({ code: 143, oom: false });
      await fleet.remove("unheard");
    });

    test("that was killed and restarted is the same node in its next epoch (A14, R9)", async () => {
      const fleet = fleetOf();
      await fleet.runAgent("killed", NATIVE);
      await fleet.untilFrames("killed", FRAMES);
      const before = await fleet.untilState("killed", "LIVE");
      await fleet.engine.docker("kill", "killed");
      const first = fleet.frames("killed").length;

      await fleet.engine.docker("start", "killed");
      const after = await until("it registers again", async () => {
        const node = await fleet.node("killed");
        return node?.epoch === before.epoch + 1 && node;
      });
      expect(after).toMatchObject({ state: "LIVE", first_seen: before.first_seen });
      expect(after.instance_id).not.toBe(before.instance_id);
      await fleet.untilFrames("killed", first + FRAMES);
      await fleet.engine.docker("stop", "killed");
      expect(await fleet.ending("killed")).toEqual({ code: 143, oom: false });
      // The restarted sensor counts from 1 again. The frames of the first one arrive before that and without a gap, but the last
      // ones it printed may be lost.
      const frames = fleet.frames("killed");
      const restart = frames.lastIndexOf(1);
      expect(frames.slice(0, restart)).toEqual(upTo(restart));
      expect(restart).toBeGreaterThanOrEqual(first);
      expect(frames.slice(restart)).toEqual(upTo(fleet.lastFrame("killed")));
      await fleet.remove("killed");
    });
  });

  describe("the coordinator's container", () => {
    test("that was killed and restarted gets all nodes back, and no frame is missing (A13, A16, R1, R3)", async () => {
      const fleet = fleetOf();
      const names = ["stays1", "stays2"] as const;
      await fleet.runAgent("stays1", NATIVE);
      await fleet.runAgent("stays2", SHELL);
      for (const name of names) await fleet.untilFrames(name, FRAMES);
      const nodeOf = (name: string): Promise<NodeView> => fleet.untilState(name, "LIVE");
      const before = await Promise.all(names.map(nodeOf));

      await fleet.engine.docker("kill", "coordinator");
      const counts = names.map((name) => fleet.frames(name).length);
      await fleet.engine.docker("start", "coordinator");
      await fleet.untilReady();
      const after = await Promise.all(names.map(nodeOf));
      for (const [i, { first_seen, epoch, instance_id }] of before.entries())
        expect(after[i]).toMatchObject({ first_seen, epoch, instance_id });
      for (const [i, name] of names.entries()) await fleet.untilFrames(name, counts[i]! + FRAMES);

      await fleet.engine.docker("stop", ...names);
      for (const name of names) {
        expect(await fleet.ending(name)).toEqual({ code: 143, oom: false });
        // Frames of the last second before the kill may arrive twice.
        const numbers = [...new Set(fleet.frames(name))].toSorted((a, b) => a - b);
        expect(numbers).toEqual(upTo(fleet.lastFrame(name)));
      }
      await fleet.remove(...names);
    });

    test("exits if another coordinator uses its data, and the other one continues (R1)", async () => {
      const fleet = fleetOf();
      await fleet.runCoordinator("second");
      expect(await fleet.engine.docker("wait", "second")).toBe("75");
      expect(await fleet.logs("second")).toContain("/data is in use by another coordinator");
      expect(await fleet.isUp()).toBe(true);
      await fleet.remove("second");
    });

    test("shows no token to users who may inspect containers (H5)", async () => {
      const fleet = fleetOf();
      await fleet.runAgent("secretive", NATIVE);
      await fleet.untilState("secretive", "LIVE");
      for (const container of ["coordinator", "secretive"]) {
        const shown = await fleet.engine.docker("inspect", container);
        for (const token of fleet.tokens) expect(shown).not.toContain(token);
        for (const token of fleet.tokens) expect(await fleet.logs(container)).not.toContain(token);
      }
      await fleet.remove("secretive");
    });
  });
}
