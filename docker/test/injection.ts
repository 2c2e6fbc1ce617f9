/** Tests how the agent gets into a container, and the errors when it cannot. (A2, A3) */
import { statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "bun:test";
import { type Fleet, RESTRICTED } from "./fleet.ts";
import { AGENT_IMAGE, build } from "./stock.ts";

/** A problem, the volume that has it, and the exit code and message of the init container. */
const FAILURES = [
  ["is mounted noexec", "--tmpfs=/fleet:noexec,mode=1777", 82, /\/fleet.*noexec/],
  ["is full", "--tmpfs=/fleet:exec,size=16m,mode=1777", 81, /\/fleet.*no space/],
  ["belongs to another user", "--tmpfs=/fleet:exec,mode=0755", 77, /\/fleet.*65534/],
  ["does not exist", "--tmpfs=/elsewhere", 66, /\/fleet/],
] as const;

export function testInjection(fleetOf: () => Fleet): void {
  describe("the agent's image", () => {
    test("run as an init container a second time changes nothing (A2)", async () => {
      const fleet = fleetOf();
      const dir = await fleet.engine.docker(
        "volume",
        "inspect",
        "--format={{.Mountpoint}}",
        "agent",
      );
      const stat = (): unknown => {
        const { ino, mtimeMs, ctimeMs, mode } = statSync(join(dir, "fleet-agent"));
        return { ino, mtimeMs, ctimeMs, mode: mode & 0o777 };
      };
      const before = stat();
      await fleet.install();
      expect(stat()).toEqual(before);
      expect(before).toMatchObject({ mode: 0o755 });
    });

    test.each(FAILURES)(
      "run as an init container whose volume %s reports that",
      async (_what, tmpfs, code, words) => {
        const { engine } = fleetOf();
        const flags = ["--name=init", tmpfs, ...RESTRICTED];
        const ended = await engine.attempt("run", ...flags, AGENT_IMAGE, "install", "/fleet");
        const { stdout, stderr } = await engine.attempt("logs", "init");
        await engine.docker("rm", "init");
        expect([ended.code, stdout]).toEqual([code, ""]);
        expect(stderr.trim().split("\n")).toEqual([expect.stringMatching(words) as string]);
      },
    );

    test("provides its file to another image by COPY --from (A3)", async () => {
      const fleet = fleetOf();
      const copy = `COPY --from=${AGENT_IMAGE} /fleet-agent /usr/bin/fleet-agent`;
      await build(fleet.engine, "copied", ["FROM busybox", copy]);
      await fleet.runAgent("copied", {
        image: "copied",
        runtime: "shell",
        sensor: ["numbers.sh"],
        program: "/usr/bin/fleet-agent",
      });
      await fleet.untilState("copied", "LIVE");
      await fleet.untilFrames("copied", 1);
      await fleet.remove("copied");
    });
  });

  test("a container without the volume downloads the agent from the coordinator and runs it (H8)", async () => {
    const fleet = fleetOf();
    await fleet.runAgent("downloader", {
      image: "busybox",
      runtime: "shell",
      sensor: ["numbers.sh"],
      program: "/bin/sh",
      flags: ["--tmpfs=/tmp:exec,mode=1777"],
      args: [
        "-ec",
        `wget -qO- "$FLEET_COORDINATOR_URL/install.sh" | sh -s -- --dir /tmp
         cmp /tmp/fleet-agent /opt/fleet/fleet-agent
         exec /tmp/fleet-agent`,
      ],
    });
    await fleet.untilState("downloader", "LIVE");
    await fleet.engine.docker("stop", "downloader");
    expect(await fleet.ending("downloader")).toEqual({ code: 143, oom: false });
    await fleet.remove("downloader");
  });
}
