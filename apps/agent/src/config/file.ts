/** The schema of agent.yaml and the problems of a file that does not match it. Durations become ms, sizes bytes. Used by config.ts. */
import { nodeClassSchema, nodeIdSchema } from "@fleet/protocol";
import { NATIVE } from "@fleet/runtimes";
import { z } from "zod";
import { namesCoordinator, ruleProblems, SENSORS_MAX } from "./rules.ts";
import { sensorSchema } from "./sensor.ts";
import { durationFrom, listenAddress, sizeFrom } from "./units.ts";
import { ON_FULL } from "./spool.ts";

/** Container runtimes kill a process that has not ended after 10 s. */
const STOP_TIMEOUT_DEFAULT = "8s";

const text = z.string().min(1).max(256);
const filePath = z.string().min(1).max(4096);
const word = z.string().max(32_768);

/** An http(s) URL without credentials, query or fragment. */
export const bareUrlSchema = z
  .url({ protocol: /^https?$/, error: "must be an http:// or https:// URL" })
  .max(2048)
  .refine((url) => {
    if (!URL.canParse(url)) return true;
    const { username, password, search, hash } = new URL(url);
    return username === "" && password === "" && search === "" && hash === "";
  }, "must not contain credentials, a query or a fragment");

const interpreterName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9_-]{0,63}$/, "must be lower-case letters, digits, '_' or '-'")
  .refine((name) => name !== NATIVE && name !== "auto", "is a reserved name");

const interpreterSchema = z.strictObject({
  name: interpreterName,
  aliases: z.array(text).max(32).optional(),
  candidates: z.array(filePath).min(1).max(32),
  version_args: z.array(word).max(32).optional(),
  pattern: z.string().max(1024).refine(isPattern, "must be a regular expression").optional(),
});

/** What the agent does when another process speaks for its node: end with exit code 69, or stay without sensors. (A8, R9) */
const ON_SUPERSEDED = ["exit", "stay"] as const;

const fileSchema = z.strictObject({
  coordinator: z
    .strictObject({
      url: bareUrlSchema.optional(),
      enroll_token_file: filePath.optional(),
      ca_file: filePath.optional(),
    })
    .prefault({}),
  node: z
    .strictObject({
      name: nodeIdSchema.optional(),
      group: text.optional(),
      class: nodeClassSchema.optional(),
      labels: z
        .record(z.string().max(64), z.string().max(256))
        .refine((labels) => Object.keys(labels).length <= 64, "must be at most 64 labels")
        .default({}),
      on_superseded: z.enum(ON_SUPERSEDED).default("exit"),
    })
    .prefault({}),
  runtimes: z.array(text).max(64).optional(),
  interpreters: z.array(interpreterSchema).max(64).default([]),
  sensors: z.array(sensorSchema).max(SENSORS_MAX).default([]),
  spool: z
    .strictObject({
      bytes_max: sizeFrom("64KiB").optional(),
      age_max: durationFrom("1s", "3650d").optional(),
      on_full: z.enum(ON_FULL).default("drop_oldest"),
    })
    .prefault({}),
  /** The address of `/health`, and the URL by which the coordinator reaches it. (R2) */
  health: z.strictObject({ listen: listenAddress, url: bareUrlSchema.optional() }).optional(),
  stop_timeout: durationFrom("1s", "10m").prefault(STOP_TIMEOUT_DEFAULT),
});

/** A parsed config file. */
export type ConfigFile = z.infer<typeof fileSchema>;

/** A config, or all of its problems as `path: what is wrong`. */
export type ConfigFileResult =
  | { readonly at: "ok"; readonly file: ConfigFile }
  | {
      readonly at: "bad";
      readonly problems: readonly string[];
      /** Whether it names a coordinator; also true if the file is not YAML, so that no second problem is reported. */
      readonly namesCoordinator: boolean;
    };

/** Parses YAML. `override` is FLEET_AGENT_RUNTIMES, which overrides `runtimes:` of the file. (A5, A6) */
export function parseConfigFile(yaml: string, override: string | undefined): ConfigFileResult {
  let raw: unknown;
  try {
    raw = Bun.YAML.parse(yaml) ?? {};
  } catch (error) {
    return {
      at: "bad",
      problems: [`not YAML: ${error instanceof Error ? error.message : String(error)}`],
      namesCoordinator: true,
    };
  }
  const parsed = fileSchema.safeParse(raw);
  const problems = [
    ...(parsed.error?.issues ?? []).flatMap(problemsOf),
    ...ruleProblems(raw, override),
  ];
  if (parsed.success && problems.length === 0) return { at: "ok", file: parsed.data };
  return { at: "bad", problems, namesCoordinator: namesCoordinator(raw) };
}

function problemsOf(issue: z.core.$ZodIssue): string[] {
  const at = (path: readonly PropertyKey[]): string => path.map(String).join(".");
  if (issue.code === "unrecognized_keys")
    return issue.keys.map((key) => `${at([...issue.path, key])}: unknown key`);
  if (issue.code === "invalid_key" || issue.code === "invalid_element")
    return issue.issues.map((inner) => `${at([...issue.path, ...inner.path])}: ${inner.message}`);
  return [`${at(issue.path) || "the file"}: ${issue.message}`];
}

function isPattern(source: string): boolean {
  try {
    return new RegExp(source, "m") instanceof RegExp;
  } catch {
    return false;
  }
}
