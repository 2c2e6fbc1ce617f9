/** Runs the demo's sensors with the interpreters and the compiler of this machine. */
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkFrame } from "../../packages/protocol/src/index.ts";
import { cleanEnvironment } from "../harness/clean-environment.ts";
import { DEMO_NODES, type DemoNode, prepareNode } from "./nodes.ts";

const FRAMES = 4;
const PERIOD_MS = 500;
/** POSIX `date` has a resolution of one second. */
const STAMP_ERROR_MS_MAX = 1500;
const dir = mkdtempSync(join(tmpdir(), "fleet-sensors-"));
afterAll(() => rmSync(dir, { recursive: true }));

interface Printed {
  readonly lines: readonly string[];
  readonly atMs: readonly number[];
}

/** Runs a sensor for FRAMES frames, then stops it as the agent does. */
async function run(command: readonly string[]): Promise<Printed & { readonly code: number }> {
  const child = Bun.spawn([...command], {
    env: cleanEnvironment(process.env),
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
    detached: true,
  });
  const decoder = new TextDecoder();
  const lines: string[] = [];
  const atMs: number[] = [];
  let rest = "";
  for await (const chunk of child.stdout) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = parts.pop()!;
    for (const line of parts) {
      lines.push(line);
      atMs.push(Date.now());
    }
    if (lines.length >= FRAMES) break;
  }
  process.kill(-child.pid, "SIGTERM");
  return { lines, atMs, code: await child.exited };
}

function problemOf(line: string): string {
  const bytes = new TextEncoder().encode(line);
  const verdict = checkFrame(bytes, 0, bytes.length);
  return verdict.at === "not_frame" ? verdict.problem : verdict.at;
}

function commandOf(node: DemoNode): readonly string[] {
  const prepared = prepareNode(node, dir);
  if (prepared.at === "skipped") throw new Error(prepared.reason);
  return node.runtime === "native" ? prepared.command : [node.needs, ...prepared.command];
}

describe("a sensor", () => {
  const shell = DEMO_NODES.find(({ runtime }) => runtime === "shell")!;
  const variants: [string, DemoNode, readonly string[]][] = [
    ...DEMO_NODES.map((node): [string, DemoNode, readonly string[]] => [node.needs, node, []]),
    ["bash", shell, ["bash", "--posix"]],
    ["dash", shell, ["dash"]],
    ["busybox", shell, ["busybox", "sh"]],
  ];
  for (const [program, node, interpreter] of variants) {
    test.skipIf(Bun.which(program) === null)(
      `for ${program} prints the recorded frames with the current time, two per second, and ends on SIGTERM`,
      async () => {
        const command = commandOf(node);
        const started = interpreter.length === 0 ? command : [...interpreter, ...command.slice(1)];
        const { lines, atMs, code } = await run(started);
        expect(code).toBe(0);
        const recorded = recordedFrames(node);
        for (const [i, line] of lines.slice(0, FRAMES).entries()) {
          expect(problemOf(line)).toBe("frame");
          const { timestamp } = JSON.parse(line) as { timestamp: number };
          expect(Math.abs(atMs[i]! - timestamp)).toBeLessThan(STAMP_ERROR_MS_MAX);
          expect(withoutTime(line)).toEqual(recorded[i]!);
        }
        const tookMs = atMs[FRAMES - 1]! - atMs[0]!;
        expect(tookMs).toBeGreaterThan((FRAMES - 2) * PERIOD_MS);
        expect(tookMs).toBeLessThan((FRAMES + 1) * PERIOD_MS);
      },
    );
  }

  test("whose interpreter is missing is skipped, with the reason", () => {
    const node: DemoNode = { ...DEMO_NODES[0]!, needs: "python-that-is-not-here" };
    expect(prepareNode(node, dir)).toMatchObject({
      at: "skipped",
      reason: "python-that-is-not-here is not on this machine's PATH",
    });
  });

  test("whose interpreter is broken is skipped, with the reason", () => {
    const node: DemoNode = { ...DEMO_NODES[0]!, needs: "false" };
    expect(prepareNode(node, dir)).toMatchObject({
      at: "skipped",
      reason: "false does not work here",
    });
  });
});

function recordedFrames(node: DemoNode): readonly Record<string, unknown>[] {
  const text = readFileSync(join(import.meta.dir, "frames", `${node.name}.jsonl`), "utf8");
  return text.trimEnd().split("\n").map(withoutTime);
}

/** Also turns -0 into 0, because not every language has a -0. */
function withoutTime(line: string): Record<string, unknown> {
  const parsed = JSON.parse(line, (_key, value: unknown) => (value === 0 ? 0 : value)) as object;
  return { ...parsed, timestamp: undefined };
}

test("recorded frames are valid and begin with the timestamp, which the sensors replace", () => {
  const dirOfFrames = join(import.meta.dir, "frames");
  expect(readdirSync(dirOfFrames)).toHaveLength(DEMO_NODES.length);
  for (const file of readdirSync(dirOfFrames))
    for (const line of readFileSync(join(dirOfFrames, file), "utf8").trimEnd().split("\n")) {
      expect(problemOf(line)).toBe("frame");
      expect(line).toMatch(/^\{"timestamp":\d+,/);
    }
});
