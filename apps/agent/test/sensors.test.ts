/** Sensors under the built agent, with real processes, users and limits. Needs no coordinator. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AGENT } from "./installer.ts";

const UNTIL_MS = 20_000;
const IS_ROOT = process.getuid?.() === 0;
const NOBODY = 65_534;
const IMAGE = { PATH: process.env["PATH"] ?? "/usr/bin:/bin", LANG: "C.UTF-8", LD_MARK: "kept" };

type Agent = Bun.Subprocess<"ignore", "ignore", "pipe">;

let dir: string;
const agents: Agent[] = [];

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "agent-sensors-"));
  chmodSync(dir, 0o777);
});

afterEach(async () => {
  for (const agent of agents.splice(0)) {
    agent.kill("SIGTERM");
    await agent.exited;
  }
  rmSync(dir, { recursive: true });
});

/** Starts the agent with these sensors, all in shell or python. `log()` is its output so far. */
function start(
  sensors: readonly object[],
  { env = {}, command = [AGENT] }: { env?: Record<string, string>; command?: string[] } = {},
) {
  const config = join(dir, "agent.yaml");
  writeFileSync(config, JSON.stringify({ sensors }));
  const agent: Agent = Bun.spawn(
    [...command, "--config", config, "--state-dir", join(dir, "state")],
    {
      cwd: "/",
      env: {
        ...IMAGE,
        FLEET_COORDINATOR_URL: "http://127.0.0.1:1",
        FLEET_ENROLL_TOKEN: "enrolment-secret",
        ...env,
      },
      stdio: ["ignore", "ignore", "pipe"],
    },
  );
  agents.push(agent);
  let text = "";
  void (async () => {
    const decoder = new TextDecoder();
    for await (const chunk of agent.stderr) text += decoder.decode(chunk, { stream: true });
  })();
  return { agent, log: () => text };
}

async function until<T>(what: string, look: () => T | undefined | false): Promise<T> {
  const endMs = performance.now() + UNTIL_MS;
  for (;;) {
    const seen = look();
    if (seen !== undefined && seen !== false) return seen;
    if (performance.now() > endMs) throw new Error(`not seen in ${UNTIL_MS} ms: ${what}`);
    await Bun.sleep(10);
  }
}

const read = (name: string): string =>
  existsSync(join(dir, name)) ? readFileSync(join(dir, name), "utf8") : "";

/** Waits until a script has completed the file, whose last line is then `end`. */
const whole = (name: string): Promise<string[]> =>
  until(name, () => read(name).endsWith("end\n") && read(name).trimEnd().split("\n").slice(0, -1));

const isAlive = (pid: number): boolean => {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
};

describe("A11: sensors that a killed agent leaves behind", () => {
  /** Never writes to stdout, ignores SIGTERM, has a grandchild, and records at its start which earlier processes still live. */
  const stubborn = (name: string): string => `
    trap "" TERM
    for pid in $(cat ${name}.pids 2>/dev/null); do
      # One that has ended may still wait for its init to take note.
      grep -q '^State:.[^ZX]' /proc/$pid/status 2>/dev/null && echo "$pid still runs" >> ${name}.overlap
    done
    (trap "" TERM; while :; do sleep 1; done) &
    echo "$$ $!" >> ${name}.pids
    while :; do sleep 1; done`;
  const sensors = () => [
    { name: "stream", runtime: "sh", command: ["-c", stubborn("stream")], cwd: dir },
    {
      name: "poll",
      runtime: "sh",
      command: ["-c", stubborn("poll")],
      cwd: dir,
      mode: "poll",
      interval: "1h",
    },
  ];
  const pids = (): number[][] =>
    ["stream", "poll"].map((name) => read(`${name}.pids`).split(/\s+/).filter(Boolean).map(Number));

  test("are all gone before the new ones start", async () => {
    const first = start(sensors());
    await until("both run", () => pids().every((each) => each.length === 2));
    const before = pids().flat();
    first.agent.kill("SIGKILL");
    await first.agent.exited;
    expect(before.map(isAlive)).toEqual([true, true, true, true]);

    const second = start(sensors());
    await until("both run again", () => pids().every((each) => each.length === 4));
    expect(before.map(isAlive)).toEqual([false, false, false, false]);
    expect([read("stream.overlap"), read("poll.overlap")]).toEqual(["", ""]);
    expect(second.log().match(/ended the processes an earlier agent left running/g)?.length).toBe(
      2,
    );

    // The log continues that of the first agent.
    const story = read("state/logs/stream.log").match(/pid=\d+ \* started \S+/g);
    expect(story?.length).toBe(2);
    second.agent.kill("SIGTERM");
    expect(await second.agent.exited).toBe(143);
    expect(pids().flat().map(isAlive)).toEqual(Array<boolean>(8).fill(false));
  });
});

describe("A10: a sensor", () => {
  const printing = (name: string, script: string, more: object = {}) => ({
    name,
    runtime: "sh",
    command: ["-c", `{ ${script}; echo end; } > ${dir}/${name}.out`],
    restart: "never",
    ...more,
  });

  test("has the image's environment as it was, less the agent's secrets, plus its node's", async () => {
    const image = { HTTP_PROXY: "http://proxy", LD_DEBUG: "", NODE_OPTIONS: "--x", BUN_X: "1" };
    start([printing("env", "tr '\\0' '\\n' < /proc/self/environ", { env: { GAIN: "3" } })], {
      env: { ...image, COPY: "token=enrolment-secret", FLEET_NODE_ID: "mast" },
    });
    const found = (await whole("env.out")).filter((line) => !/^(PWD|OLDPWD|SHLVL|_)=/.test(line));
    const runtimes = found.find((line) => line.startsWith("FLEET_AGENT_RUNTIMES="))!;
    expect(runtimes).toContain("shell");
    const expected = {
      ...IMAGE,
      ...image,
      FLEET_COORDINATOR_URL: "http://127.0.0.1:1",
      FLEET_API_URL: "http://127.0.0.1:1",
      FLEET_NODE_ID: "mast",
      FLEET_SENSOR: "env",
      GAIN: "3",
    };
    expect(found.toSorted()).toEqual(
      [...Object.entries(expected).map(([name, value]) => `${name}=${value}`), runtimes].toSorted(),
    );
  });

  test.skipIf(!IS_ROOT)(
    "runs as its user and within its limits, and others as the agent does",
    async () => {
      const show = "id -u; id -g; id -G; ulimit -n; ulimit -c; ulimit -f";
      const limits = { open_files: 77, core: "0B", file_size: "1MiB" };
      start([
        printing("other", show, { uid: NOBODY, gid: 7, limits }),
        printing("own", "id -u; id -g"),
        printing("poll", show, {
          uid: NOBODY,
          limits,
          mode: "poll",
          interval: "1h",
          restart: undefined,
        }),
      ]);
      const blocks = String((1024 * 1024) / 512);
      expect(await whole("other.out")).toEqual([String(NOBODY), "7", "7", "77", "0", blocks]);
      expect(await whole("own.out")).toEqual(["0", "0"]);
      expect((await whole("poll.out")).slice(0, 4)).toEqual([
        String(NOBODY),
        String(NOBODY),
        String(NOBODY),
        "77",
      ]);
    },
  );

  test.skipIf(!IS_ROOT)(
    "with a user that the agent may not become is told of once; the others run",
    async () => {
      const { log } = start(
        [printing("other", "id -u", { uid: 1234 }), printing("own", "id -u", { uid: NOBODY })],
        { command: ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups", AGENT] },
      );
      expect(await whole("own.out")).toEqual([String(NOBODY)]);
      expect(log()).toContain(
        "sensor other can't run here: must run as uid 1234, gid 1234; the agent runs as uid 65534, gid 65534 and may not switch users",
      );
      expect(read("other.out")).toBe("");
      expect(log().match(/may not switch/g)?.length).toBe(1);
    },
  );

  test.skipIf(!IS_ROOT)(
    "of another user can't read the agent's state, nor its log be written over",
    async () => {
      const { log } = start([
        printing("thief", "cat state/identity.json state/processes.json state/logs/thief.log", {
          cwd: dir,
          uid: NOBODY,
        }),
      ]);
      expect(await whole("thief.out")).toEqual([]);
      await until("its complaints", () =>
        read("state/logs/thief.log").includes("Permission denied"),
      );
      expect(log()).toContain("Permission denied");
    },
  );
});

describe.skipIf(Bun.which("python3") === null)("A9: a sensor in a virtual environment", () => {
  const PROGRAM =
    "import os, shutil, sys; print(sys.prefix, shutil.which('python3'), os.environ['VIRTUAL_ENV'], 'PYTHONHOME' in os.environ, sep='\\n', file=sys.stderr)";

  test("has its interpreter, and its bin in front of PATH; a broken one is told of with the reason", async () => {
    const made = Bun.spawnSync(["python3", "-m", "venv", "--without-pip", join(dir, "envs/radar")]);
    expect(made.exitCode).toBe(0);
    Bun.spawnSync(["cp", "-a", join(dir, "envs/radar"), join(dir, "envs/broken")]);
    for (const name of ["python", "python3"])
      rmSync(join(dir, "envs/broken/bin", name), { force: true });
    const sensor = (name: string) => ({
      name,
      runtime: "python",
      environment: name,
      command: ["-c", PROGRAM],
      restart: "never",
    });
    const { log } = start([sensor("broken"), sensor("radar"), sensor("rada")], {
      env: { FLEET_RUNTIME_ENVS_DIR: join(dir, "envs") },
    });
    await until("it ended", () => read("state/logs/radar.log").includes("exited with code 0"));
    const said = read("state/logs/radar.log").match(/(?<= \| ).*$/gm);
    const env = join(dir, "envs/radar");
    expect(said).toEqual([env, `${env}/bin/python3`, env, "False"]);
    expect(log()).toContain(
      "sensor broken can't run here: needs python in the environment broken; ",
    );
    expect(log()).toContain("correct environment:, perhaps to radar");
  });
});

describe("A12: a SIGHUP while the image is still being looked at", () => {
  test("does not end the agent, and has the config read again once there is one", async () => {
    const slow = join(dir, "ruby");
    const answer = `[ -e asked ] || { echo > asked; read go < go; }; echo ruby 3.0.0`;
    writeFileSync(slow, `#!/bin/sh\ncd ${dir}; ${answer}\n`);
    chmodSync(slow, 0o755);
    expect(Bun.spawnSync(["mkfifo", join(dir, "go")]).exitCode).toBe(0);
    const { agent, log } = start([], { env: { PATH: `${dir}:${IMAGE.PATH}` } });
    await until("the interpreter was asked", () => existsSync(join(dir, "asked")));
    agent.kill("SIGHUP");
    const go = Bun.spawn(["sh", "-c", "echo > go"], { cwd: dir });
    await until("it read the config again", () => log().includes("reloaded the config"));
    expect(agent.exitCode).toBeNull();
    expect(await go.exited).toBe(0);
  });
});
