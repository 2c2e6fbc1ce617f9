import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { TestAuthority } from "@fleet/daemon/testing";
import { ConfigError } from "@fleet/daemon";
import { loadConfig, parseConfig, readSecret } from "./config.ts";
import { tempDir } from "../testing.ts";

function problemsOf(value: unknown): readonly string[] {
  try {
    parseConfig("coordinator.yaml", value);
  } catch (error) {
    return (error as ConfigError).problems;
  }
  return [];
}

describe("a configuration", () => {
  test("that is empty has the documented defaults (R5, T1–T4)", () => {
    using dir = tempDir();
    const path = join(dir.path, "empty.yaml");
    writeFileSync(path, "# nothing\n");
    const config = loadConfig(path);
    expect(config).toEqual(loadConfig(undefined));
    expect(config.tcp_server).toMatchObject({
      port: 30_050,
      auto_provision: true,
      auto_provision_port_start: 31_000,
      auto_provision_port_end: 31_099,
    });
    expect(config.registry).toEqual({
      heartbeat_interval: 30_000,
      stale_after: 90_000,
      dead_after: 300_000,
      reenroll: "allow",
      agent_nodes_max: 100_000,
      agent_url_deny: [],
      plain_nodes_max: 10_000,
      node_retention: { persistent: 7 * 86_400_000, ephemeral: 600_000 },
    });
    expect(config.tcp_server.auto_provision_per_token_max).toBe(1000);
    expect(config.trackers).toEqual([]);
    expect(config.tracker).toMatchObject({ stop_grace: 5000, extended_outage: 60_000 });
    expect(config.http.port).toBe(7700);
  });

  test.each([
    ["yaml", "registry: { stale_after: 1.5m }\noutput: { rotate_bytes: 1MiB }\n"],
    ["toml", `registry.stale_after = "1.5m"\noutput.rotate_bytes = "1MiB"\n`],
  ])("is read as %s, with units", (ending, text) => {
    using dir = tempDir();
    const path = join(dir.path, `coordinator.${ending}`);
    writeFileSync(path, text);
    const config = loadConfig(path);
    expect(config.registry.stale_after).toBe(90_000);
    expect(config.output.rotate_bytes).toBe(1024 ** 2);
  });

  test("is refused with all problems at once, each with its path", () => {
    const problems = problemsOf({
      htpp: {},
      http: { port: 70_000, colour: "red" },
      registry: { stale_after: "soon", dead_after: "0s", heartbeat_interval: 30 },
      output: { rotate_bytes: "64 MB", keep_days: 0 },
      trackers: [
        { name: "a b", mode: "tcp", node_id: "../x", extra: 1 },
        { name: "hill", mode: "udp" },
        { name: "hill", mode: "http", node_id: "dale", interval: "49ms" },
      ],
      tracker: { command: [] },
    });
    const paths = problems.map((p) => p.split(":")[0]!);
    expect(paths.toSorted()).toEqual(
      [
        "htpp",
        "http.port",
        "http.colour",
        "registry.stale_after",
        "registry.dead_after",
        "registry.heartbeat_interval",
        "output.rotate_bytes",
        "output.keep_days",
        "trackers.0.name",
        "trackers.0.node_id",
        "trackers.0.extra",
        "trackers.1.mode",
        "trackers.2.node_id",
        "trackers.2.detection_url",
        "trackers.2.interval",
        "tracker.command",
      ].toSorted(),
    );
    expect(problems).toContain("htpp: unknown key");
    expect(problems).toContain("http.colour: unknown key");
    expect(problems).toContain(
      'registry.stale_after: must be a duration such as "500ms", "30s" or "5m", at least 1ms',
    );
  });

  test("with a reversed port range is refused", () => {
    const range = { auto_provision_port_start: 31_010, auto_provision_port_end: 31_009 };
    expect(problemsOf({ tcp_server: range })).toEqual([
      "tcp_server.auto_provision_port_end: must not be below auto_provision_port_start",
    ]);
    expect(problemsOf({ tcp_server: { ...range, auto_provision_port_end: 31_010 } })).toEqual([]);
  });

  test.each([["- a list"], ["just text"], ["7"]])("that is %p is refused, not ignored", (text) => {
    using dir = tempDir();
    const path = join(dir.path, "c.yaml");
    writeFileSync(path, text);
    expect(() => loadConfig(path)).toThrow(ConfigError);
    expect(() => loadConfig(path)).toThrow("(top)");
  });

  test("that can't be read or parsed is refused with its path and the reason", () => {
    using dir = tempDir();
    const path = join(dir.path, "none.yaml");
    expect(() => loadConfig(path)).toThrow(`${path}:\n  can't be read: ENOENT`);
    writeFileSync(path, "a: [1,\nb: }");
    expect(() => loadConfig(path)).toThrow(`${path}:\n  is not valid`);
  });

  test("whose certificate and key don't belong together is refused with the config key and the file (T1)", () => {
    using dir = tempDir();
    const authority = new TestAuthority();
    const [one, other] = [authority.issue(), authority.issue()];
    const [path, cert, key] = ["c.yaml", "cert.pem", "key.pem"].map((f) => join(dir.path, f)) as [
      string,
      string,
      string,
    ];
    writeFileSync(path, JSON.stringify({ tcp_server: { tls: { cert, key } } }));
    writeFileSync(cert, one.cert);
    expect(() => loadConfig(path)).toThrow(
      `${path}:\n  tcp_server.tls.key: ${key} can't be read: ENOENT`,
    );
    writeFileSync(key, other.key);
    expect(() => loadConfig(path)).toThrow(
      `${path}:\n  tcp_server.tls.key: ${key} is not the key of ${cert}`,
    );
    writeFileSync(key, one.key);
    expect(loadConfig(path).tcp_server.tls).toEqual({ cert, key });
    expect(problemsOf({ tcp_server: { tls: { cert } } })).toHaveLength(1);
  });
});

describe("a secret", () => {
  test("is read from its variable, else from the file the variable names, else from the config's", () => {
    using dir = tempDir();
    const [one, two] = [join(dir.path, "one"), join(dir.path, "two")];
    writeFileSync(one, "from one\n");
    writeFileSync(two, "  from two ");
    expect(readSecret({ T: "direct", T_FILE: one }, "T", two)).toBe("direct");
    expect(readSecret({ T: "", T_FILE: one }, "T", two)).toBe("from one");
    expect(readSecret({}, "T", two)).toBe("from two");
    expect(readSecret({}, "T")).toBeUndefined();
    expect(readSecret({ T: "" }, "T", "")).toBeUndefined();
  });

  test("whose file is missing or empty is refused", () => {
    using dir = tempDir();
    const path = join(dir.path, "secret");
    expect(() => readSecret({ T_FILE: path }, "T")).toThrow(/T from .*ENOENT/s);
    writeFileSync(path, " \n");
    expect(() => readSecret({}, "T", path)).toThrow("it is empty");
  });
});
