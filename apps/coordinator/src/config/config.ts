/**
 * The coordinator's configuration: one strict schema. Unknown keys are errors, and all problems are reported together, each
 * with its path. `serve` and `check-config` load it once.
 */
import { readFileSync } from "node:fs";
import { z } from "zod";
import { ConfigError } from "@fleet/daemon";
import { readConfigFile } from "./file.ts";
import { trackerEntriesSchema } from "./trackers.ts";
import { duration, durationOrNever, size } from "./units.ts";
import { isCidr } from "../net/address-policy.ts";
import { readTlsPair, type TlsFiles } from "../net/tls-files.ts";

const DAY_MS = 86_400_000;

const port = z.int().min(1).max(65_535);

/** Where ports listen unless flags or config set a host. With --insecure-dev, `serve` uses 127.0.0.1 instead. */
export const DEFAULT_HOST = "0.0.0.0";
const host = z.string().min(1).optional();

/** Paths of PEM files. */
const tlsFilesSchema = z.strictObject({ cert: z.string().min(1), key: z.string().min(1) });

const tcpServerSchema = z
  .strictObject({
    host,
    port: z.int().min(0).max(65_535).default(30_050),
    token_file: z.string().optional(),
    auto_provision: z.boolean().default(true),
    auto_provision_port_start: port.default(31_000),
    auto_provision_port_end: port.default(31_099),
    /** Streams that one push token may create without an entry in `trackers`. (T2) */
    auto_provision_per_token_max: z.int().min(1).default(1000),
    connections_max: z.int().min(1).default(4096),
    connections_per_address_max: z.int().min(1).default(1024),
    tls: tlsFilesSchema.optional(),
  })
  .refine((t) => t.auto_provision_port_start <= t.auto_provision_port_end, {
    message: "must not be below auto_provision_port_start",
    path: ["auto_provision_port_end"],
  });

const trackerSchema = z.strictObject({
  command: z.array(z.string()).min(1).optional(),
  stop_grace: duration.default(5000),
  extended_outage: duration.default(60_000),
  start_timeout: duration.default(10_000),
  stall_timeout: duration.default(60_000),
});

const configSchema = z.strictObject({
  http: z
    .strictObject({
      host,
      port: z.int().min(0).max(65_535).default(7700),
      tls: tlsFilesSchema.optional(),
      /** Who may read `/metrics`: anybody, or the holder of an operator token. */
      metrics: z.enum(["open", "viewer"]).default("open"),
    })
    .prefault({}),
  /** The frame endpoint that agents connect to, if it isn't where this process listens. `tls`: whether it expects TLS. */
  advertise_frames: z
    .strictObject({ host: z.string().min(1), port, tls: z.boolean().optional() })
    .optional(),
  enroll_token_file: z.string().optional(),
  operator_token_file: z.string().optional(),
  /** Directory of the agents offered for download, as `ARCH/fleet-agent`. (H8) */
  agent_binaries: z.string().min(1).optional(),
  tcp_server: tcpServerSchema.prefault({}),
  trackers: trackerEntriesSchema,
  tracker: trackerSchema.prefault({}),
  registry: z
    .strictObject({
      heartbeat_interval: duration.default(30_000),
      stale_after: duration.default(90_000),
      dead_after: duration.default(300_000),
      /** Whether an enrolment token is enough to take over a known node (`allow`), or its own credentials are needed (`prove`). */
      reenroll: z.enum(["allow", "prove"]).default("allow"),
      /** Nodes stored. Bounded, because anyone with a token can make up ids. (R10) */
      agent_nodes_max: z.int().min(1).default(100_000),
      plain_nodes_max: z.int().min(1).default(10_000),
      /** Networks whose addresses agents can't register, in addition to those that AddressPolicy always refuses. (H12) */
      agent_url_deny: z
        .array(z.string().refine(isCidr, "must be a network such as 10.0.0.0/8"))
        .max(256)
        .default([]),
      /** How long silent nodes are kept, by class, counted in the coordinator's uptime. (R4) */
      node_retention: z
        .strictObject({
          persistent: durationOrNever.default(7 * DAY_MS),
          ephemeral: durationOrNever.default(10 * 60_000),
        })
        .prefault({}),
    })
    .prefault({}),
  output: z
    .strictObject({
      dir: z.string().optional(),
      rotate_bytes: size.default(64 * 1024 ** 2),
      keep_days: z.int().min(1).default(14),
      total_bytes_max: size.default(10 * 1024 ** 3),
    })
    .prefault({}),
});

/** The parsed configuration: durations in ms, sizes in bytes, defaults filled in. */
export type Config = z.output<typeof configSchema>;

/**
 * Loads a configuration file: TOML if its name ends in `.toml`, else YAML. Without a path, returns the defaults. Also checks
 * the certificate files it names. Throws ConfigError.
 */
export function loadConfig(path: string | undefined): Config {
  if (path === undefined) return configSchema.parse({});
  const config = parseConfig(path, readConfigFile(path));
  const problems = [
    ...tlsProblems("http.tls", config.http.tls),
    ...tlsProblems("tcp_server.tls", config.tcp_server.tls),
  ];
  if (problems.length > 0) throw new ConfigError(path, problems);
  return config;
}

function tlsProblems(place: string, files: TlsFiles | undefined): string[] {
  const read = files === undefined ? undefined : readTlsPair(files);
  return read?.at === "bad" ? [`${place}.${read.problem}`] : [];
}

/** Validates a decoded configuration. `source` names it in the ConfigError that this throws. */
export function parseConfig(source: string, value: unknown): Config {
  const result = configSchema.safeParse(value);
  if (result.success) return result.data;
  throw new ConfigError(source, result.error.issues.flatMap(describe));
}

function describe(issue: z.core.$ZodIssue): string[] {
  const at = issue.path.map(String).join(".");
  if (issue.code === "unrecognized_keys")
    return issue.keys.map((key) => `${at === "" ? key : `${at}.${key}`}: unknown key`);
  return [`${at === "" ? "(top)" : at}: ${issue.message}`];
}

/** Reads a secret from variable `name`, else from the file that `NAME_FILE` or the config names. Undefined if none is set. Throws ConfigError. */
export function readSecret(
  env: Record<string, string | undefined>,
  name: string,
  configFile?: string,
): string | undefined {
  const direct = env[name];
  if (direct !== undefined && direct !== "") return direct;
  const path = env[`${name}_FILE`] ?? configFile;
  if (path === undefined || path === "") return undefined;
  try {
    const secret = readFileSync(path, "utf8").trim();
    if (secret === "") throw new Error("it is empty");
    return secret;
  } catch (error) {
    throw new ConfigError(`${name} from ${path}`, [(error as Error).message]);
  }
}
