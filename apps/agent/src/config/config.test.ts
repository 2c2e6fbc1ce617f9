import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TestAuthority } from "@fleet/daemon/testing";
import type { RunFlags } from "./run-flags.ts";
import { ConfigError } from "@fleet/daemon";
import { loadConfig, loadDetectionConfig } from "./config.ts";

let dir: string;
let path: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "config-"));
  path = join(dir, "agent.yaml");
});

afterEach(() => rmSync(dir, { recursive: true }));

function load(yaml: string | undefined, env: Record<string, string> = {}, flags: RunFlags = {}) {
  if (yaml !== undefined) writeFileSync(path, yaml);
  return loadConfig(
    { stateDir: join(dir, "state"), ...(yaml === undefined ? {} : { config: path }), ...flags },
    env,
  );
}

/** The problems, without the file's path. */
function problems(...args: Parameters<typeof load>): string[] {
  try {
    load(...args);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.problems.map((problem) => problem.replace(`${path}: `, ""));
  }
  return [];
}

const GOOD = `
coordinator: { url: "http://coordinator:7700/", enroll_token_file: /run/secrets/enroll }
node: { name: radar3, group: radar, class: persistent, labels: { site: hill } }
runtimes: [auto, native]
interpreters: [{ name: julia, candidates: [julia], version_args: [--version], pattern: 'version (\\S+)' }]
sensors:
  - { name: radar, runtime: python3, requires: ">=3.9", command: [radar.py, --rate, "2"], mode: stream, restart: on-failure, env: { GAIN: "3" }, cwd: /opt }
  - { name: noise, runtime: native, command: [/opt/bin/noise], mode: poll, interval: 5s, timeout: 2s }
  - { name: own, runtime: julia, command: [own.jl] }
spool: { bytes_max: 256MiB, age_max: 7d, on_full: block }
`;

const DEFAULTS = {
  uid: undefined,
  gid: undefined,
  limits: {},
  stopGraceMs: 3000,
  lineBytesMax: 1024 * 1024,
  log: { bytesMax: 1024 * 1024, files: 2 },
};

test("the whole file is read, with runtimes under their canonical names", () => {
  const config = load(GOOD);
  expect(config).toMatchObject({
    coordinatorUrl: "http://coordinator:7700",
    enrollTokens: [{ at: "file", path: "/run/secrets/enroll" }],
    nodeName: "radar3",
    group: "radar",
    class: "persistent",
    labels: { site: "hill" },
    stateDir: { at: "writable" },
    runtimes: ["auto", "native"],
    spool: { bytesMax: 256 * 1024 * 1024, ageMaxMs: 604_800_000, onFull: "block" },
    stopTimeoutMs: 8000,
    logLevel: "info",
  });
  expect(config.sensors).toEqual([
    {
      name: "radar",
      runtime: "python",
      requires: ">=3.9",
      environment: undefined,
      command: ["radar.py", "--rate", "2"],
      env: { GAIN: "3" },
      cwd: "/opt",
      ...DEFAULTS,
      mode: "stream",
      restart: "on-failure",
    },
    {
      name: "noise",
      runtime: "native",
      requires: undefined,
      environment: undefined,
      command: ["/opt/bin/noise"],
      env: {},
      cwd: undefined,
      ...DEFAULTS,
      mode: "poll",
      intervalMs: 5000,
      timeoutMs: 2000,
    },
    expect.objectContaining({ name: "own", runtime: "julia", mode: "stream", restart: "always" }),
  ] as never);
});

test("no file is needed: a coordinator from the environment is enough", () => {
  const config = load(undefined, { FLEET_COORDINATOR_URL: "http://c:7700" });
  expect(config).toMatchObject({
    sensors: [],
    enrollTokens: [],
    spool: { bytesMax: undefined, ageMaxMs: undefined, onFull: "drop_oldest" },
  });
});

test("R2: /health is served on an address, by name, IPv4 or IPv6, with a URL of its own or without", () => {
  const health = (yaml: string) => load(`${URL_LINE}health: ${yaml}`).health;
  expect(load(URL_LINE).health).toBeUndefined();
  expect(health('{ listen: "0.0.0.0:7701" }')).toEqual({
    host: "0.0.0.0",
    port: 7701,
    url: undefined,
  });
  expect(health('{ listen: "[::1]:1", url: "http://radar3:7701" }')).toEqual({
    host: "::1",
    port: 1,
    url: "http://radar3:7701",
  });
});

test.each(["7701", ":7701", "0.0.0.0", "0.0.0.0:0", "h:65536", "::1:7701", "[h]:1", "a b:1"])(
  "R2: %s is no address to listen on",
  (listen) => {
    expect(problems(`${URL_LINE}health: { listen: "${listen}" }`)).toEqual([
      'health.listen: must be HOST:PORT, such as "0.0.0.0:7701"',
    ]);
  },
);

test("R2: an agent's URL holds no credentials, and needs an address to listen on", () => {
  const url = 'health: { listen: "h:1", url: "http://u:p@h" }';
  expect(problems(`${URL_LINE}${url}`)[0]).toStartWith("health.url: must not contain credentials");
  expect(problems(`${URL_LINE}health: { url: "http://h" }`)[0]).toStartWith("health.listen: ");
});

test("a flag wins over a variable, a variable over the file", () => {
  const env = { FLEET_COORDINATOR_URL: "http://variable:1", FLEET_NODE_ID: "variable" };
  const flags = { coordinator: "http://flag:1", name: "flag" };
  expect(load(GOOD, env, flags)).toMatchObject({
    coordinatorUrl: "http://flag:1",
    nodeName: "flag",
  });
  expect(load(GOOD, env)).toMatchObject({
    coordinatorUrl: "http://variable:1",
    nodeName: "variable",
  });
  expect(load(GOOD, { FLEET_NODE_ID: "" })).toMatchObject({ nodeName: "radar3" });
});

test("enrolment tokens: the variable wins over the file's, the previous one is tried last", () => {
  const env = {
    FLEET_ENROLL_TOKEN: "now",
    FLEET_ENROLL_TOKEN_PREVIOUS_FILE: "/run/secrets/previous",
  };
  expect(load(GOOD, env).enrollTokens).toEqual([
    { at: "value", token: "now" },
    { at: "file", path: "/run/secrets/previous" },
  ]);
});

test("all problems are reported together, each with its path", () => {
  const yaml = `
coordinator: { url: "ftp://c", token: x }
node: { name: a.b, class: forever, labels: { site: 5 }, on_superseded: fight }
runtimes: python
sensors:
  - { name: radar, runtime: python, requires: "new", command: [], mode: strem }
  - { name: radar, runtime: cobol, command: x, interval: 5s }
  - { name: noise, runtime: native, requires: ">=1", command: [x], mode: poll, timeout: soon, restart: always }
  - { runtime: python, command: [x] }
spool: { bytes_max: 5, on_full: wait }
surprise: 1
`;
  expect(
    problems(
      yaml,
      { FLEET_NODE_ID: "a b", FLEET_ENROLL_TOKEN: "two words" },
      { logLevel: "loud" },
    ).toSorted(),
  ).toEqual(
    [
      "--log-level: must be one of trace, debug, info, warn, error, silent",
      "FLEET_ENROLL_TOKEN: must be printable ASCII without spaces",
      "FLEET_NODE_ID: must be 1–64 letters, digits, '_' or '-', and begin with a letter or digit",
      "coordinator.token: unknown key",
      "coordinator.url: must be an http:// or https:// URL",
      'node.class: Invalid option: expected one of "persistent"|"ephemeral"',
      "node.labels.site: Invalid input: expected string, received number",
      'node.on_superseded: Invalid option: expected one of "exit"|"stay"',
      "node.name: must be 1–64 letters, digits, '_' or '-', and begin with a letter or digit",
      "runtimes: Invalid input: expected array, received string",
      "sensors.0.command: must have at least one word",
      'sensors.0.mode: Invalid option: expected one of "stream"|"poll"',
      'sensors.0.requires: must be a version range such as ">=3.9"',
      "sensors.1.command: Invalid input: expected array, received string",
      "sensors.1.interval: is only valid for poll sensors",
      "sensors.1.name: is already the name of sensors.0",
      'sensors.1.runtime: "cobol" is not a known runtime',
      "sensors.2.interval: required for a poll sensor",
      "sensors.2.requires: is not valid for a native program, which has no known version",
      "sensors.2.restart: is only valid for stream sensors",
      "sensors.2.runtime: native is not enabled; add it to runtimes: or FLEET_AGENT_RUNTIMES",
      'sensors.2.timeout: must be a duration such as "500ms", "30s" or "5m", from 10ms to 7d',
      "sensors.3.name: Invalid input: expected string, received undefined",
      "spool.bytes_max: Invalid input: expected string, received number",
      'spool.on_full: Invalid option: expected one of "drop_oldest"|"drop_newest"|"block"',
      "surprise: unknown key",
    ].toSorted(),
  );
});

const URL_LINE = "coordinator: { url: http://c:7700 }\n";
const NATIVE_SENSOR = `${URL_LINE}sensors: [{ name: n, runtime: native, command: [x] }]\n`;

test("a coordinator that nobody names is a problem beside the others", () => {
  expect(problems("surprise: 1")).toEqual([
    "surprise: unknown key",
    "coordinator.url: missing; set it, FLEET_COORDINATOR_URL or --coordinator",
  ]);
});

test("native needs to be named, by the file or by the variable, and auto does not name it", () => {
  expect(problems(NATIVE_SENSOR)).toHaveLength(1);
  expect(problems(`${NATIVE_SENSOR}runtimes: [auto]\n`)).toHaveLength(1);
  expect(problems(`${NATIVE_SENSOR}runtimes: [auto, native]\n`)).toEqual([]);
  expect(problems(NATIVE_SENSOR, { FLEET_AGENT_RUNTIMES: "python,Native" })).toEqual([]);
  expect(
    problems(`${NATIVE_SENSOR}runtimes: [native]\n`, { FLEET_AGENT_RUNTIMES: "python" }),
  ).toHaveLength(1);
});

test("an unknown name among the runtimes is a problem", () => {
  expect(problems(`${URL_LINE}runtimes: [python, cobol]\n`)).toEqual([
    'runtimes: "cobol" is not a known runtime',
  ]);
});

test.each(["9ms", "8d", "5", "-1s", "1 s"])("an interval of %s is refused", (interval) => {
  const yaml = `${URL_LINE}sensors: [{ name: n, runtime: python, command: [x], mode: poll, interval: "${interval}" }]`;
  expect(problems(yaml)).toHaveLength(1);
});

test.each(["10ms", "7d"])("an interval of %s is taken", (interval) => {
  const yaml = `${URL_LINE}sensors: [{ name: n, runtime: python, command: [x], mode: poll, interval: ${interval} }]`;
  expect(load(yaml).sensors[0]).toMatchObject({ mode: "poll" });
});

test.each(["http://u:p@c:1", "http://c:1/?a=b", "http://c:1/#x", "c:7700", "http://"])(
  "coordinator %s is refused",
  (url) => {
    expect(problems(undefined, {}, { coordinator: url })[0]).toStartWith("--coordinator: ");
  },
);

const sensorWith = (keys: string): string =>
  `${URL_LINE}runtimes: [python, native]\nsensors: [{ name: n, runtime: python, command: [x], ${keys} }]`;

test("A10, A11: a sensor may have a user, limits, an environment and a log of its own", () => {
  const config = load(
    sensorWith(`environment: radar-env, uid: 1000, gid: 0, stop_grace: 10s, line_bytes_max: 64KiB,
      log: { bytes_max: 16KiB, files: 5 },
      limits: { open_files: 64, processes: 5, memory: 256MiB, cpu: 1m, file_size: 0B, core: 0B }`),
  );
  expect(config.sensors).toMatchObject([
    {
      environment: "radar-env",
      uid: 1000,
      gid: 0,
      stopGraceMs: 10_000,
      lineBytesMax: 65_536,
      log: { bytesMax: 16_384, files: 5 },
      limits: {
        openFiles: 64,
        processes: 5,
        memoryBytes: 256 * 1024 * 1024,
        cpuMs: 60_000,
        fileBytes: 0,
        coreBytes: 0,
      },
    },
  ]);
});

test("A10: a sensor with a uid alone gets the group of that number; a gid alone is a problem", () => {
  expect(load(sensorWith("uid: 65534")).sensors[0]).toMatchObject({ uid: 65_534, gid: 65_534 });
  expect(problems(sensorWith("gid: 7"))).toEqual([
    "sensors.0.gid: is only valid together with uid",
  ]);
});

test.each([
  ["uid: -1", "uid"],
  ["uid: 4294967295", "uid"],
  ["uid: 1.5", "uid"],
  ["uid: 1, gid: nobody", "gid"],
  ["stop_grace: 61s", "stop_grace"],
  ["line_bytes_max: 63B", "line_bytes_max"],
  ["line_bytes_max: 2MiB", "line_bytes_max"],
  ["log: { bytes_max: 1KiB }", "log.bytes_max"],
  ["log: { files: 0 }", "log.files"],
  ["log: { files: 101 }", "log.files"],
  ["log: { size: 1 }", "log.size"],
  ["limits: { open_files: 3 }", "limits.open_files"],
  ["limits: { memory: 5 }", "limits.memory"],
  ["limits: { cpu: 10ms }", "limits.cpu"],
  ["limits: { nofile: 5 }", "limits.nofile"],
])("A11: %s is refused, by its path", (keys, key) => {
  const [problem, ...others] = problems(sensorWith(keys));
  expect(problem).toStartWith(`sensors.0.${key}: `);
  expect(others).toEqual([]);
});

test.each(["uid: 0", "uid: 4294967294", "stop_grace: 60s", "line_bytes_max: 64B"])(
  "A11: %s is taken",
  (keys) => {
    expect(problems(sensorWith(keys))).toEqual([]);
  },
);

test("A9: an environment is Python's", () => {
  const yaml = `${URL_LINE}sensors: [{ name: n, runtime: node, environment: e, command: [x] }]`;
  expect(problems(yaml)).toEqual(["sensors.0.environment: is only valid with runtime python"]);
});

test.each(["999ms", "11m"])("A8: a stop may not take %s", (time) => {
  expect(problems(`${URL_LINE}stop_timeout: ${time}`)[0]).toStartWith("stop_timeout: ");
});

test("a missing file, a file that is no YAML and an empty file", () => {
  expect(problems(undefined, {}, { config: join(dir, "none"), coordinator: "http://c" })).toEqual([
    `${join(dir, "none")}: can't be read: ENOENT`,
  ]);
  expect(problems("sensors: [")[0]).toStartWith("not YAML: ");
  expect(problems("- 1")[0]).toStartWith("the file: ");
  expect(problems("", { FLEET_COORDINATOR_URL: "http://c" })).toEqual([]);
});

test("an explicit state directory that can't be used is a problem", () => {
  writeFileSync(join(dir, "file"), "");
  expect(
    problems(undefined, { FLEET_COORDINATOR_URL: "http://c" }, { stateDir: join(dir, "file") }),
  ).toEqual([`--state-dir: ${join(dir, "file")} is not a directory`]);
});

test("a pattern or name of an interpreter that can't work is a problem", () => {
  const yaml = `${URL_LINE}interpreters: [{ name: native, candidates: [x] }, { name: j, candidates: [], pattern: "(" }]`;
  expect(problems(yaml)).toEqual([
    "interpreters.0.name: is a reserved name",
    "interpreters.1.candidates: Too small: expected array to have >=1 items",
    "interpreters.1.pattern: must be a regular expression",
  ]);
});

test("detection alone needs no coordinator, but a file that is right", () => {
  writeFileSync(path, "runtimes: [python]");
  expect(loadDetectionConfig({ config: path }, {})).toEqual({
    runtimes: ["python"],
    interpreters: [],
  });
  writeFileSync(path, "runtime: [python]");
  expect(() => loadDetectionConfig({ config: path }, {})).toThrow(ConfigError);
});

test("the coordinator's authority is read from the file that the variable names, else from the config's; a bad one is named (H5)", () => {
  const [one, two] = [join(dir, "one.pem"), join(dir, "two.pem")];
  const [first, second] = [new TestAuthority("One").cert, new TestAuthority("Two").cert];
  writeFileSync(one, first);
  writeFileSync(two, second);
  const yaml = `coordinator: { url: "https://c", ca_file: ${JSON.stringify(one)} }`;
  expect(load('coordinator: { url: "https://c" }').ca).toBeUndefined();
  expect(load(yaml).ca).toBe(first.trim());
  expect(load(yaml, { FLEET_COORDINATOR_CA_FILE: two }).ca).toBe(second.trim());
  expect(problems(yaml, { FLEET_COORDINATOR_CA_FILE: "/none" })).toEqual([
    "FLEET_COORDINATOR_CA_FILE: /none can't be read: ENOENT",
  ]);
  writeFileSync(one, "garbage");
  expect(problems(yaml)).toEqual([`coordinator.ca_file: ${one} holds no certificate in PEM`]);
});
