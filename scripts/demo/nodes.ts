/** The demo's four nodes, one for each kind of sensor, and whether this machine can run them. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { cleanEnvironment } from "../harness/clean-environment.ts";

const SENSORS_DIR = join(import.meta.dir, "sensors");
const FRAMES_DIR = join(import.meta.dir, "frames");
const PROBE_MS_MAX = 10_000;
const COMPILE_MS_MAX = 60_000;

/** A node, before it is known whether this machine can run it. */
export interface DemoNode {
  readonly name: string;
  /** The runtime in the sensor's config. */
  readonly runtime: "python" | "node" | "shell" | "native";
  /** The interpreter or compiler the sensor needs. */
  readonly needs: string;
  /** The sensor's source file, in `sensors/`. */
  readonly source: string;
}

/** In screen order. Each replays the frames in `frames/NAME.jsonl`. */
export const DEMO_NODES: readonly DemoNode[] = [
  { name: "radar1", runtime: "python", needs: "python3", source: "radar.py" },
  { name: "radar2", runtime: "node", needs: "node", source: "radar.mjs" },
  { name: "radar3", runtime: "shell", needs: "sh", source: "radar.sh" },
  { name: "radar4", runtime: "native", needs: "cc", source: "radar.c" },
];

/** A node that can run here, with its sensor's command for the config, or the reason why it cannot. */
export type PreparedNode = DemoNode &
  (
    | { readonly at: "ready"; readonly command: readonly string[] }
    | { readonly at: "skipped"; readonly reason: string }
  );

/** Tries the interpreter, or compiles the native sensor into `dir`. */
export function prepareNode(node: DemoNode, dir: string): PreparedNode {
  const frames = join(FRAMES_DIR, `${node.name}.jsonl`);
  const source = join(SENSORS_DIR, node.source);
  if (node.runtime !== "native") {
    const problem =
      node.needs === "sh" ? undefined : problemOf([node.needs, "--version"], PROBE_MS_MAX);
    return problem === undefined
      ? { ...node, at: "ready", command: [source, frames] }
      : { ...node, at: "skipped", reason: problem };
  }
  const binary = join(dir, `${node.name}-sensor`);
  const problem = problemOf([node.needs, "-O2", "-o", binary, source], COMPILE_MS_MAX);
  return problem === undefined
    ? { ...node, at: "ready", command: [binary, frames] }
    : { ...node, at: "skipped", reason: problem };
}

/** Runs a command. Returns what went wrong in one line, or undefined. */
function problemOf(
  [program, ...args]: readonly [string, ...string[]],
  timeout: number,
): string | undefined {
  const { error, status, stderr } = spawnSync(program, args, {
    encoding: "utf8",
    env: cleanEnvironment(process.env),
    timeout,
  });
  if (error !== undefined)
    return (error as NodeJS.ErrnoException).code === "ENOENT"
      ? `${program} is not on this machine's PATH`
      : `${program}: ${error.message}`;
  if (status === 0) return undefined;
  const firstLine = stderr.trim().split("\n")[0] ?? "";
  return `${program} does not work here${firstLine === "" ? "" : `: ${firstLine}`}`;
}
