import { describe, expect, test } from "bun:test";
import { ConfigError } from "@fleet/daemon";
import type { AgentConfig } from "./config/config.ts";
import type { Detection } from "./detection/detect.ts";
import { Reload } from "./reload.ts";
import { recordingLog } from "./testing.ts";

const DETECTION = {} as Detection;
const CONFIG = {
  coordinatorUrl: "http://a",
  ca: undefined,
  nodeName: undefined,
  health: undefined,
  spool: { bytesMax: 1, ageMaxMs: undefined, onFull: "drop_oldest" },
  group: "old",
  sensors: [],
} as unknown as AgentConfig;

function setUp(load: () => AgentConfig, detect = () => Promise.resolve(DETECTION)) {
  const { log, lines } = recordingLog();
  const applied: AgentConfig[] = [];
  const reload = new Reload({
    config: CONFIG,
    load,
    detect,
    apply: async (config) => void applied.push(config),
    log,
  });
  return { reload, lines, applied };
}

describe("the config is read again (A12)", () => {
  test("and applied", async () => {
    const next = { ...CONFIG, group: "new" };
    const { reload, applied, lines } = setUp(() => next);
    await reload.ask();
    expect(applied).toEqual([next]);
    expect(lines.map(({ message }) => message)).toEqual(["reloaded the config"]);
  });

  test("except settings that need a restart, which are named each time they differ", async () => {
    const health = { host: "h", port: 1, url: undefined };
    const spool = { ...CONFIG.spool, bytesMax: 2 };
    const next = { ...CONFIG, coordinatorUrl: "http://b", ca: "PEM", spool, group: "new", health };
    const { reload, applied, lines } = setUp(() => next);
    await reload.ask();
    expect(applied).toEqual([{ ...CONFIG, group: "new" }]);
    const warnings = () => lines.filter(({ level }) => level === "warn").map((l) => l.fields);
    expect(warnings()).toEqual([
      { setting: "coordinator.url" },
      { setting: "coordinator.ca_file" },
      { setting: "spool" },
      { setting: "health" },
    ]);
    await reload.ask();
    expect(warnings()).toHaveLength(8);
  });

  test("and stays in force as it was when the new one is wrong, with every problem told", async () => {
    const { reload, applied, lines } = setUp(() => {
      throw new ConfigError("config", ["a: is wrong", "b: is too"]);
    });
    await reload.ask();
    expect(applied).toEqual([]);
    expect(lines).toMatchObject([
      { level: "error", fields: { problems: ["a: is wrong", "b: is too"] } },
    ]);
  });

  test("once more, however often it was asked for meanwhile", async () => {
    let loads = 0;
    const held = Promise.withResolvers<Detection>();
    const { reload, applied } = setUp(
      () => ({ ...CONFIG, group: `${++loads}` }),
      () => held.promise,
    );
    const asked = [reload.ask(), reload.ask(), reload.ask()];
    held.resolve(DETECTION);
    await Promise.all(asked);
    expect(applied.map(({ group }) => group)).toEqual(["1", "2"]);
    await reload.ask();
    expect(applied).toHaveLength(3);
  });

  test("and one that can't be applied is logged and does not block the next one", async () => {
    let fails = true;
    const { reload, applied, lines } = setUp(
      () => CONFIG,
      () => (fails ? Promise.reject(new Error("no")) : Promise.resolve(DETECTION)),
    );
    await reload.ask();
    expect(lines.at(-1)).toMatchObject({ level: "error" });
    fails = false;
    await reload.ask();
    expect(applied).toHaveLength(1);
  });
});
