import { expect, test } from "bun:test";
import type { ImageReport, InterpreterReport } from "@fleet/runtimes";
import { planSensor } from "./sensor-plan.ts";
import { sensorOf } from "./testing.ts";

const PYTHON: InterpreterReport = {
  verdict: "ok",
  name: "python",
  path: "/usr/bin/python3",
  real_path: "/usr/bin/python3.13",
  version: "3.13.0rc1",
  semver: "3.13.0",
  implementation: "cpython",
  vendor: null,
  kind: null,
  libc: "glibc",
  arch: "x86_64",
  via: null,
  note: null,
  probe_ms: 5,
  also: [],
  rejected: [],
};

const NODE: InterpreterReport = {
  verdict: "broken",
  name: "node",
  rejected: [
    { path: "/usr/bin/node", real_path: null, code: "dangling_link", reason: "points nowhere" },
  ],
};

function plan(runtime: string, options: { requires?: string; offered?: string[] } = {}) {
  const { requires } = options;
  const config = sensorOf({
    runtime,
    command: ["radar.py", "-v"],
    ...(requires === undefined ? {} : { requires }),
  });
  const report = { interpreters: [PYTHON, NODE] } as unknown as ImageReport;
  const runtimes = options.offered ?? ["python", "node", "native"];
  return planSensor(config, { report, resolved: { runtimes, tier: "config", problems: [] } });
}

test("a runtime sensor's command goes to its interpreter, a native one's stands for itself", () => {
  expect(plan("python")).toMatchObject({ argv: ["/usr/bin/python3", "radar.py", "-v"] });
  expect(plan("native")).toMatchObject({ argv: ["radar.py", "-v"] });
});

test.each([">=3.9", ">=3.9,<4", "3.13.x", "*"])("python 3.13.0rc1 satisfies %s", (requires) => {
  expect(plan("python", { requires }).at).toBe("runnable");
});

const UNAVAILABLE: [string, { requires?: string; offered?: string[] }, string][] = [
  [
    "python",
    { requires: ">=3.14" },
    "needs python >=3.14; found python 3.13.0rc1 at /usr/bin/python3",
  ],
  ["python", { offered: ["node"] }, "needs python; the runtimes offered here are: node"],
  ["python", { offered: [] }, "needs python; the runtimes offered here are: none"],
  ["ruby", { offered: ["ruby"] }, "needs ruby; no ruby was found in this image"],
  [
    "node",
    { requires: "^20" },
    "needs node ^20; no working node was found in this image: /usr/bin/node points nowhere",
  ],
];

test("a sensor that can't run says what it needs and what is there", () => {
  for (const [runtime, options, reason] of UNAVAILABLE)
    expect(plan(runtime, options)).toMatchObject({ at: "unavailable", reason });
});
