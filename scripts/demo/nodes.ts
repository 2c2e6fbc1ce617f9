/** The demo's four nodes, one for each kind of sensor, and what this machine lacks to run one. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { cleanEnvironment } from "../harness/clean-environment.ts";

/** Where the sensors are, the recorded frames beside them. */
const SENSORS_DIR = join(import.meta.dir, "sensors");
const FRAMES_DIR = join(import.meta.dir, "frames");
const PROBE_MS_MAX = 10_000;
const COMPILE_MS_MAX = 60_000;

/** A node before this machine was looked at. */
export interface DemoNode {
  readonly name: string;
  /** What the sensor's config says. */
  readonly runtime: "python" | "node" | "shell" | "native";
  /** The program the sensor needs here. */
  readonly needs: string;
  /** The source of the sensor, in `sensors/`. */
  readonly source: string;
}

/** In the order of the screen. Each replays the frames of its own name. */
export const DEMO_NODES: readonly DemoNode[] = [
  { name: "radar1", runtime: "python", needs: "python3", source: "radar.py" },
  { name: "radar2", runtime: "node", needs: "node", source: "radar.mjs" },
  { name: "radar3", runtime: "shell", needs: "sh", source: "radar.sh" },
  { name: "radar4", runtime: "native", needs: "cc", source: "radar.c" },
];

/** A node that can run here: its sensor's command as the config has it. Or why it can't. */
export type PreparedNode = DemoNode &
  (
    | { readonly at: "ready"; readonly command: readonly string[] }
    | { readonly at: "skipped"; readonly reason: string }
  );

/** Looks for the interpreter, or compiles the native sensor into `dir`. */
export function prepareNode(node: DemoNode, dir: string): PreparedNode {
  const frames = join(FRAMES_DIR, `${node.name}.jsonl`);
  const source = join(SENSORS_DIR, node.source);
  if (node.runtime !== "native") {
    const problem = node.needs === "sh" ? undefined : run([node.needs, "--version"], PROBE_MS_MAX);
    return problem === undefined
      ? { ...node, at: "ready", command: [source, frames] }
      : { ...node, at: "skipped", reason: problem };
  }
  const binary = join(dir, `${node.name}-sensor`);
  const problem = run([node.needs, "-O2", "-o", binary, source], COMPILE_MS_MAX);
  return problem === undefined
    ? { ...node, at: "ready", command: [binary, frames] }
    : { ...node, at: "skipped", reason: problem };
}

/** What went wrong in one line, or undefined. */
function run(
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
  const said = stderr.trim().split("\n")[0] ?? "";
  return `${program} does not work here${said === "" ? "" : `: ${said}`}`;
}
