/** The schema of one entry of `sensors:` in agent.yaml, with defaults and bounds, and the settings it stands for. (A10, A11) */
import { type SensorName, sensorNameSchema } from "@fleet/protocol";
import { canonicalRuntime, type CustomInterpreter } from "@fleet/runtimes";
import { satisfies } from "@fleet/runtimes/version-range";
import type { ResourceLimits } from "@fleet/supervisor";
import { z } from "zod";
import { durationFrom, sizeFrom } from "./units.ts";

/** The largest valid id; 2^32 − 1 means "no change" in system calls. */
const ID_MAX = 0xff_ff_ff_fe;

const text = z.string().min(1).max(256);
const filePath = z.string().min(1).max(4096);
const word = z.string().max(32_768);
const id = z.int().min(0).max(ID_MAX);
const duration = durationFrom("10ms", "7d");
const versionRange = z.string().refine(isRange, 'must be a version range such as ">=3.9"');

const limitsSchema = z.strictObject({
  open_files: z.int().min(16).max(1_048_576).optional(),
  processes: z.int().min(1).max(4_194_304).optional(),
  memory: sizeFrom("1MiB").optional(),
  cpu: durationFrom("1s", "365d").optional(),
  file_size: sizeFrom("0B").optional(),
  core: sizeFrom("0B").optional(),
});

/** A sensor in agent.yaml. */
export const sensorSchema = z.strictObject({
  name: sensorNameSchema,
  runtime: text,
  requires: versionRange.optional(),
  environment: text.optional(),
  command: z.array(word).min(1, "must have at least one word").max(1024),
  mode: z.enum(["stream", "poll"]).default("stream"),
  restart: z.enum(["always", "on-failure", "never"]).default("always"),
  interval: duration.optional(),
  timeout: duration.optional(),
  env: z.record(z.string().regex(/^[^=\0]+$/, "must be the name of a variable"), word).default({}),
  cwd: filePath.optional(),
  uid: id.optional(),
  gid: id.optional(),
  limits: limitsSchema.default({}),
  stop_grace: durationFrom("10ms", "60s").prefault("3s"),
  line_bytes_max: sizeFrom("64B", "1MiB").prefault("1MiB"),
  log: z
    .strictObject({
      bytes_max: sizeFrom("16KiB", "1GiB").prefault("1MiB"),
      files: z.int().min(1).max(100).default(2),
    })
    .prefault({}),
});

/** The parsed entry. */
type SensorFile = z.infer<typeof sensorSchema>;

/** The settings of one sensor. Times are in ms. `runtime` is its canonical name. */
export type SensorConfig = {
  readonly name: SensorName;
  readonly runtime: string;
  readonly requires: string | undefined;
  /** The name of a virtual environment in FLEET_RUNTIME_ENVS_DIR. */
  readonly environment: string | undefined;
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string | undefined;
  /** Both are set or neither; undefined: the agent's own. */
  readonly uid: number | undefined;
  readonly gid: number | undefined;
  /** A limit that is absent is the agent's own. */
  readonly limits: ResourceLimits;
  /** From SIGTERM to SIGKILL. A stop of the whole agent may allow less. */
  readonly stopGraceMs: number;
  /** The longest line on stdout, LF included. */
  readonly lineBytesMax: number;
  /** The log has `files` files of at most `bytesMax` each, including the one being written. */
  readonly log: { readonly bytesMax: number; readonly files: number };
} & (
  | { readonly mode: "stream"; readonly restart: SensorFile["restart"] }
  | { readonly mode: "poll"; readonly intervalMs: number; readonly timeoutMs: number }
);

/** The settings of a valid entry. Without `gid` the group id is the `uid`. */
export function sensorConfig(
  file: SensorFile,
  interpreters: readonly CustomInterpreter[],
): SensorConfig {
  const { name, command, requires, environment, env, cwd, uid, interval } = file;
  const common = {
    name,
    // rules.ts has checked that the name is known.
    runtime: canonicalRuntime(file.runtime, interpreters) ?? file.runtime,
    requires,
    environment,
    command,
    env,
    cwd,
    uid,
    gid: file.gid ?? uid,
    limits: limitsOf(file.limits),
    stopGraceMs: file.stop_grace,
    lineBytesMax: file.line_bytes_max,
    log: { bytesMax: file.log.bytes_max, files: file.log.files },
  };
  if (interval === undefined) return { ...common, mode: "stream", restart: file.restart };
  return { ...common, mode: "poll", intervalMs: interval, timeoutMs: file.timeout ?? interval };
}

function limitsOf(limits: SensorFile["limits"]): ResourceLimits {
  const { open_files, processes, memory, cpu, file_size, core } = limits;
  return {
    ...(open_files === undefined ? {} : { openFiles: open_files }),
    ...(processes === undefined ? {} : { processes }),
    ...(memory === undefined ? {} : { memoryBytes: memory }),
    ...(cpu === undefined ? {} : { cpuMs: cpu }),
    ...(file_size === undefined ? {} : { fileBytes: file_size }),
    ...(core === undefined ? {} : { coreBytes: core }),
  };
}

function isRange(range: string): boolean {
  try {
    satisfies("1.0.0", range);
    return true;
  } catch {
    return false;
  }
}
