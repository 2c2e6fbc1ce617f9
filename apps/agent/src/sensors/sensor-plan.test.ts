import { describe, expect, test } from "bun:test";
import type {
  ImageReport,
  Installation,
  InterpreterReport,
  VirtualEnvironment,
} from "@fleet/runtimes";
import type { SensorHost } from "./sensor-host.ts";
import { planSensor } from "./sensor-plan.ts";
import { sensorOf } from "../testing.ts";

const installation = (path: string, version: string, semver: string): Installation => ({
  path,
  real_path: path,
  version,
  semver,
  implementation: "cpython",
  vendor: null,
  kind: null,
  libc: "glibc",
  arch: "x86_64",
  via: null,
  note: null,
  probe_ms: 5,
});

const PYTHON: InterpreterReport = {
  ...installation("/usr/bin/python3", "3.13.0rc1", "3.13.0"),
  verdict: "ok",
  name: "python",
  also: [
    installation("/usr/bin/python3.12", "3.12.4", "3.12.4"),
    installation("/opt/python3.9", "3.9.2", "3.9.2"),
  ],
  rejected: [],
};

const NODE: InterpreterReport = {
  verdict: "broken",
  name: "node",
  rejected: [
    { path: "/usr/bin/node", real_path: null, code: "dangling_link", reason: "points nowhere" },
  ],
};

const environment = (
  name: string,
  version: string | null,
  reason: string | null = null,
): VirtualEnvironment => ({
  name,
  path: `/envs/${name}`,
  verdict: reason === null ? "ok" : "broken",
  kind: "venv",
  interpreter: reason === null ? `/envs/${name}/bin/python3` : null,
  real_path: null,
  version,
  semver: version,
  reason,
  note: null,
});

const ENVIRONMENTS = [
  environment("radar", "3.12.4"),
  environment("old", "3.8.1"),
  environment("broken", null, "its bin/python3 points nowhere"),
];

const HOST: SensorHost = {
  envsDir: "/envs",
  uid: 1000,
  gid: 1000,
  canSwitch: false,
  hasLauncher: true,
};

interface Circumstances {
  readonly offered?: readonly string[];
  readonly tier?: "override" | "config" | "detected";
  readonly environments?: readonly VirtualEnvironment[];
  readonly host?: Partial<SensorHost>;
}

function plan(file: Readonly<Record<string, unknown>>, circumstances: Circumstances = {}) {
  const { offered = ["python", "node", "native"], tier = "config" } = circumstances;
  const report = {
    interpreters: [PYTHON, NODE],
    environments: circumstances.environments ?? ENVIRONMENTS,
  } as unknown as ImageReport;
  return planSensor(
    sensorOf({ command: ["radar.py", "-v"], ...file }),
    { report, resolved: { runtimes: offered, tier, problems: [] } },
    { ...HOST, ...circumstances.host },
  );
}

function problem(file: Readonly<Record<string, unknown>>, circumstances: Circumstances = {}) {
  const planned = plan(file, circumstances);
  if (planned.at === "runnable") throw new Error("it is runnable");
  return [planned.reason, planned.remedy];
}

const python = (keys: Readonly<Record<string, unknown>> = {}) => ({ runtime: "python", ...keys });

describe("A11: the command of a sensor", () => {
  test("goes to its runtime's interpreter; a native one's stands for itself", () => {
    expect(plan(python())).toMatchObject({ argv: ["/usr/bin/python3", "radar.py", "-v"] });
    expect(plan({ runtime: "native" })).toMatchObject({ argv: ["radar.py", "-v"] });
  });

  test.each([
    [">=3.9", "/usr/bin/python3"],
    [">=3.9,<4", "/usr/bin/python3"],
    ["3.13.x", "/usr/bin/python3"],
    ["*", "/usr/bin/python3"],
    ["<3.13", "/usr/bin/python3.12"],
    ["3.9.x", "/opt/python3.9"],
    ["<3.12 || >=3.14", "/opt/python3.9"],
  ])("with requires %s goes to the first installation that satisfies it", (requires, path) => {
    expect(plan(python({ requires }))).toMatchObject({ argv: [path, "radar.py", "-v"] });
  });
});

describe("A11: a sensor that can't run names what it needs, what the image has, and the remedy", () => {
  test("no version satisfies", () => {
    expect(problem(python({ requires: ">=3.14" }))).toEqual([
      "needs python >=3.14; found python 3.13.0rc1 at /usr/bin/python3, 3.12.4 at /usr/bin/python3.12, 3.9.2 at /opt/python3.9",
      "use an image with python >=3.14, or install it, or correct requires:",
    ]);
  });

  test("an environment would", () => {
    expect(problem(python({ requires: "3.8.x" }))[1]).toStartWith(
      "set environment: to one that satisfies it: old; or ",
    );
  });

  test("its runtime is here, but not offered", () => {
    expect(problem(python(), { offered: ["node"] })).toEqual([
      "needs python; the runtimes enabled here are: node",
      "add python to runtimes:",
    ]);
    expect(problem(python(), { offered: [], tier: "override" })).toEqual([
      "needs python; the runtimes enabled here are: none",
      "add python to FLEET_AGENT_RUNTIMES",
    ]);
  });

  test("its runtime is not here", () => {
    const remedy = "use an image with ruby, or install it";
    const gone = "needs ruby; no ruby was found in this image";
    expect(problem({ runtime: "ruby" }, { offered: ["ruby"] })).toEqual([gone, remedy]);
    expect(problem({ runtime: "ruby" }, { tier: "detected" })).toEqual([gone, remedy]);
  });

  test("A6: native is not offered", () => {
    expect(problem({ runtime: "native" }, { offered: ["python"], tier: "detected" })).toEqual([
      "needs native; the runtimes enabled here are: python",
      "add native to runtimes:",
    ]);
  });

  test("its interpreter is broken", () => {
    expect(problem({ runtime: "node", requires: "^20" })[0]).toBe(
      "needs node ^20; no working node was found in this image: /usr/bin/node points nowhere",
    );
  });
});

describe("A9: a sensor with an environment", () => {
  test("runs in its interpreter", () => {
    expect(plan(python({ environment: "radar", requires: ">=3.12" }))).toMatchObject({
      argv: ["/envs/radar/bin/python3", "radar.py", "-v"],
      virtualEnv: "/envs/radar",
    });
  });

  test("that is broken says why", () => {
    expect(problem(python({ environment: "broken" }))).toEqual([
      "needs python in the environment broken; it can't be used: its bin/python3 points nowhere",
      "create it again on this machine: python3 -m venv --clear /envs/broken; or use one of: radar, old",
    ]);
  });

  test("of another version names those that would do", () => {
    expect(problem(python({ environment: "old", requires: ">=3.12" }))).toEqual([
      "needs python >=3.12 in the environment old; it has python 3.8.1 at /envs/old/bin/python3",
      "create it again with such a python, or correct requires:; or use one of: radar",
    ]);
  });

  test("that does not exist names the existing ones, and the nearest", () => {
    expect(problem(python({ environment: "Radra" }))).toEqual([
      "needs python in the environment Radra; /envs has radar, old, broken",
      "correct environment:, perhaps to radar; or use one of: radar, old",
    ]);
    expect(problem(python({ environment: "sonar" }), { environments: [] })).toEqual([
      "needs python in the environment sonar; /envs has no environments",
      "create it with: python3 -m venv /envs/sonar",
    ]);
  });

  test.each([undefined, ""])("needs FLEET_RUNTIME_ENVS_DIR, which is %p", (envsDir) => {
    expect(problem(python({ environment: "radar" }), { host: { envsDir } })[0]).toBe(
      "needs python in the environment radar; FLEET_RUNTIME_ENVS_DIR is not set",
    );
  });
});

describe("A10: a sensor with a user or limits of its own", () => {
  test("can't have another user from an agent that may not switch", () => {
    expect(problem(python({ uid: 65_534 }))).toEqual([
      "must run as uid 65534, gid 65534; the agent runs as uid 1000, gid 1000 and may not switch users",
      "start the agent as root with CAP_SETUID, CAP_SETGID and CAP_KILL, or remove uid: and gid:",
    ]);
    const half = { uid: 0, gid: 0 };
    expect(problem(python({ uid: 65_534 }), { host: half })[0]).toEndWith("may not switch users");
  });

  test("is switched by one that may, and not where it is the agent's own", () => {
    const host = { uid: 0, gid: 0, canSwitch: true };
    expect(plan(python({ uid: 5, gid: 6 }), { host })).toMatchObject({ user: { uid: 5, gid: 6 } });
    expect(plan(python({ uid: 1000 }))).toMatchObject({ at: "runnable", user: undefined });
    expect(plan(python())).toMatchObject({ user: undefined });
  });

  test("needs the static build", () => {
    const host = { hasLauncher: false };
    const reason = "asks for a user or limits, which this build of the agent does not support";
    expect(problem(python({ limits: { open_files: 64 } }), { host })[0]).toBe(reason);
    expect(plan(python({ limits: { open_files: 64 } })).at).toBe("runnable");
    expect(plan(python(), { host }).at).toBe("runnable");
  });
});
