/** Runs the agent where something is missing: exec permission, space, a writable directory, or /proc. (A2, A14) */
import { beforeAll, describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { CWD, hostileEnvironment } from "./hostile.ts";
import { busybox } from "./kinds.ts";
import { describeRoots, type Machine } from "./machine.ts";
import { thisArch } from "./processor.ts";
import { AGENT, type EnterOptions, NOBODY, type Root, type Run, type Step } from "./root.ts";
import { useSurroundings } from "./surroundings.ts";

const TARGET = "/target";
const EXIT_CONFIG = 78;

await describeRoots(`the ${thisArch} agent short of things`, thisArch, (machine: Machine) => {
  const surroundings = useSurroundings(machine);
  let root: Root;
  let hostile: EnterOptions;
  beforeAll(() => {
    root = surroundings.make(busybox);
    root.directory(TARGET, 0o700, NOBODY);
    hostile = { cwd: CWD, env: hostileEnvironment(surroundings.trap().url) };
  });

  const readOnlyRoot = (): Step => ["mount", "-o", "remount,bind,ro", root.dir];
  const tmpfs = (inside: string, options: string): Step => {
    const flags = `mode=0777,${options}`;
    return ["mount", "-t", "tmpfs", "-o", flags, "tmpfs", root.at(inside)];
  };
  /** A completely full tmpfs. */
  const fullTmpfs = (inside: string): Step[] => [
    tmpfs(inside, "size=64k"),
    ["fallocate", "-l", "64k", root.at(`${inside}/filler`)],
  ];

  test("is refused by the shell on a mount without exec", async () => {
    const steps = [["mount", "-o", "remount,bind,noexec", root.at(AGENT)]];
    const run = root.run(["/bin/sh", "-c", `${AGENT} --version`], { steps });
    expect(await run.exit()).toBe(126);
    expect(run.err()).toBe(`/bin/sh: ${AGENT}: Permission denied\n`);
  });

  test("says that /proc is missing, in one line, and exits with 127", async () => {
    const run = root.agent(["--version"], { ...hostile, proc: false });
    expect([await run.exit(), run.out()]).toEqual([127, ""]);
    expect(run.err()).toMatch(/^[^\n]*\/proc[^\n]*\n$/);
  });

  describe("runs its sensor", () => {
    /** Starts an agent with a sensor; resolves once frames have arrived. */
    async function start(
      node: string,
      args: readonly string[],
      options: EnterOptions,
    ): Promise<Run> {
      const outside = surroundings.outside();
      const sensors = [{ name: "s", runtime: "native", command: ["/sensor"] }];
      root.file(
        `/${node}.yaml`,
        JSON.stringify({ node: { name: node }, runtimes: ["native"], sensors }),
      );
      const env = { ...hostile.env, ...outside.environment };
      const run = root.agent(["--config", `/${node}.yaml`, ...args], {
        ...hostile,
        ...options,
        env,
      });
      await run.until(`frames of ${node}`, () => outside.frames(`${node}.s`).length > 0);
      return run;
    }
    async function stop(run: Run, node: string): Promise<void> {
      run.kill("SIGTERM");
      expect(await run.exit()).toBe(143);
      expect((await surroundings.outside().node(node))?.state).toBe("SHUTDOWN");
      expect(root.processes()).toEqual([]);
    }

    test.each([
      ["space", () => fullTmpfs("/state")],
      ["inodes", () => [tmpfs("/state", "nr_inodes=1")]],
    ])(
      "when its state and working directory has no %s, and says what it could not keep",
      async (what, steps) => {
        const node = `no-${what}`;
        const run = await start(node, ["--state-dir", "/state"], { cwd: "/state", steps: steps() });
        const warnings = run
          .err()
          .split("\n")
          .filter((line) => line.includes('"level":"warn"'));
        expect(warnings.filter((line) => !line.includes("ENOSPC"))).toEqual([]);
        expect(warnings.join("\n")).toContain(
          "could not store the identity; after a restart this node enrols again",
        );
        const left = readdirSync(`/proc/${run.pid}/root/state`);
        expect(left.filter((name) => name.startsWith("identity"))).toEqual([]);
        await stop(run, node);
      },
    );

    test("when nothing at all can be written, and says that it lives in memory", async () => {
      const run = await start("no-place", [], { steps: [readOnlyRoot()] });
      expect(run.err()).toContain("no state directory: identity and spool are in memory only");
      await stop(run, "no-place");
    });
  });

  test("refuses a state directory on a read-only root, in one line that names it", async () => {
    const env = { ...hostile.env, ...surroundings.outside().environment };
    const options = { ...hostile, env, steps: [readOnlyRoot()] };
    const run = root.agent(["--state-dir", "/state"], options);
    expect(await run.exit()).toBe(EXIT_CONFIG);
    expect(run.err()).toBe("fleet-agent: --state-dir: /state is on a read-only file system\n");
  });

  describe("installs itself", () => {
    const keepTarget = (): Step => ["mount", "--bind", root.at(TARGET), root.at(TARGET)];
    const installing = (steps: readonly Step[]): Run =>
      root.agent(["install", TARGET], { ...hostile, steps });

    test.each([
      ["without exec", 82, "noexec", () => [tmpfs(TARGET, "size=256m,noexec")]],
      ["without space", 81, "no space", () => [tmpfs(TARGET, "size=1m")]],
      [
        "read-only",
        80,
        "read-only",
        () => [keepTarget(), ["mount", "-o", "remount,bind,ro", root.at(TARGET)]],
      ],
    ] as const)("not onto a mount %s: exit %d and one line", async (_what, code, words, steps) => {
      const run = installing(steps());
      expect([await run.exit(), run.out()]).toEqual([code, ""]);
      expect(run.err()).toMatch(/^fleet-agent: [^\n]+\n$/);
      expect(run.err()).toContain(words);
      expect(run.err()).toContain(TARGET);
      expect(readdirSync(root.at(TARGET))).toEqual([]);
    });

    test("from a read-only root into the one place that can be written, once", async () => {
      const steps = [keepTarget(), readOnlyRoot()];
      for (const words of ["installed", "already installed"]) {
        const run = installing(steps);
        expect([await run.exit(), run.err()]).toEqual([0, ""]);
        expect(run.out()).toStartWith(`${words} ${TARGET}/fleet-agent: `);
      }
      expect(readdirSync(root.at(TARGET))).toEqual(["fleet-agent"]);
      const copy = root.run([`${TARGET}/fleet-agent`, "--version", "--json"], {
        ...hostile,
        steps,
      });
      const original = root.agent(["--version", "--json"]);
      expect([await copy.exit(), copy.err()]).toEqual([0, ""]);
      await original.exit();
      expect(copy.out()).toBe(original.out());
    });
  });
});
