/**
 * Checks everything the agent needs. The parts run concurrently, each with a time limit, so that a hanging part delays no other.
 * The only side effect is a probe file in the state directory, which is removed: it registers nothing and takes no lock. (A9)
 */
import { ApiClient } from "@fleet/api-client";
import type { Clock } from "@fleet/daemon";
import { detectedRuntimes, detectImage, resolveRuntimes } from "@fleet/runtimes";
import { configPath, type RunFlags } from "../config/run-flags.ts";
import { type ConfigSurvey, surveyConfig } from "../config/config.ts";
import type { Detection } from "../detection/detect.ts";
import type { Environment } from "../process/image-env.ts";
import { spoolBounds } from "../spool/spool-size.ts";
import { DEFAULT_STATE_DIR } from "../state/state-dir.ts";
import { type Check, type CheckId, fail, ok } from "./check.ts";
import { checkClock } from "./check-clock.ts";
import { checkCoordinator, type CoordinatorHealth } from "./check-coordinator.ts";
import { checkFrames } from "./check-frames.ts";
import { checkIdentity, type IdentityFound } from "./check-identity.ts";
import { checkEnvironments, checkProc, checkRuntimes } from "./check-image.ts";
import { checkSensors } from "./check-sensors.ts";
import { checkSpool } from "./check-spool.ts";
import { checkStateDir } from "./check-state-dir.ts";
import { checkTokens, type Whoami } from "./check-tokens.ts";
import { within } from "./within.ts";

/** The agent to examine: the one that these flags and variables would start. */
export interface DoctorOptions {
  readonly flags: RunFlags;
  /** The image's original environment. */
  readonly env: Environment;
  readonly clock: Clock;
  /** Called with the unfinished parts whenever they change. */
  readonly onWaiting?: (parts: readonly string[]) => void;
}

/** A part exceeds this only if something without its own time limit hangs. */
export const PART_MS_MAX = 30_000;
/** Reading the identity exceeds this only if the file system hangs; the tokens are then tried without it. */
const IDENTITY_MS_MAX = 3000;

interface Part {
  readonly id: CheckId;
  readonly checks: Promise<readonly Check[]>;
}

/** Runs all checks and returns them in a fixed order. Never rejects. */
export async function examine(options: DoctorOptions): Promise<readonly Check[]> {
  const { clock } = options;
  const parts = start(options);
  const waiting = new Set(parts);
  const report = (): void => options.onWaiting?.([...waiting].map(({ id }) => id));
  report();
  const done = parts.map(async (part) => {
    const checks = await within(clock, PART_MS_MAX, part.checks).catch((error: unknown) => [
      fail(
        part.id,
        `could not be checked: ${String(error)}`,
        "This is a bug in fleet-agent; report it",
      ),
    ]);
    waiting.delete(part);
    report();
    return checks ?? [hung(part.id)];
  });
  return (await Promise.all(done)).flat();
}

function start(options: DoctorOptions): readonly Part[] {
  const { flags, env } = options;
  let namedStateDir: string | undefined;
  const survey = surveyConfig(flags, env, (named) => {
    namedStateDir = named;
    // Checked below. It is not created, which is up to the agent.
    return { at: "writable", path: named ?? DEFAULT_STATE_DIR };
  });
  const { config } = survey;
  const detection = detect(options, survey);
  const identity = checkIdentity(namedStateDir ?? DEFAULT_STATE_DIR, config.nodeName);
  const wanted = new Set(config.sensors.flatMap(({ environment }) => environment ?? []));
  return [
    { id: "config", checks: Promise.resolve(checkConfig(survey, flags, env)) },
    { id: "proc", checks: checkProc().then((check) => [check]) },
    ...connectionParts(options, survey, identity),
    { id: "state_dir", checks: checkStateDir(namedStateDir) },
    { id: "identity", checks: identity.then(({ checks }) => checks) },
    { id: "runtimes", checks: detection.then(checkRuntimes) },
    {
      id: "environment",
      checks: detection.then((found) => checkEnvironments(found, env, wanted)),
    },
    { id: "spool", checks: detection.then((found) => spoolOf(survey, found)) },
    { id: "sensor", checks: detection.then((found) => checkSensors(config.sensors, found, env)) },
  ];
}

function checkConfig(
  { config, problems }: ConfigSurvey,
  flags: RunFlags,
  env: Environment,
): Check[] {
  const path = configPath(flags, env);
  if (problems.length > 0)
    return problems.map((problem) =>
      fail("config", problem, "Correct it; until then the agent exits with code 78"),
    );
  const sensors = `${config.sensors.length} ${config.sensors.length === 1 ? "sensor" : "sensors"}`;
  if (path === undefined) return [ok("config", `no file, only flags and variables; ${sensors}`)];
  return [ok("config", `is valid; ${sensors}`, { subject: path })];
}

/** The coordinator, and the checks that need its answer: tokens, clock and the frame port. */
function connectionParts(
  { env, clock }: DoctorOptions,
  { config }: ConfigSurvey,
  identity: Promise<IdentityFound>,
): Part[] {
  const { coordinatorUrl: url, ca, enrollTokens: sources } = config;
  const client = url === undefined ? undefined : new ApiClient({ url, ca, clock });
  const coordinator =
    client === undefined || url === undefined
      ? Promise.resolve(undefined)
      : checkCoordinator({ url, client, env, clock });
  const tokens = coordinator.then(async (found) =>
    checkTokens({
      sources,
      env,
      clock,
      refreshToken: (await within(clock, IDENTITY_MS_MAX, identity))?.refreshToken,
      client: found?.health === undefined ? undefined : client,
    }),
  );
  /** No check without a coordinator that answers. */
  const ifAnswers = async (
    look: (
      whoami: Whoami | undefined,
      health: CoordinatorHealth,
    ) => readonly Check[] | Promise<readonly Check[]>,
  ): Promise<readonly Check[]> => {
    const health = (await coordinator)?.health;
    return health === undefined ? [] : look((await tokens).whoami, health);
  };
  return [
    // Without an address there is no check: the config check reports that it is missing.
    { id: "coordinator", checks: coordinator.then((found) => (found ? [found.check] : [])) },
    { id: "token", checks: tokens.then(({ checks }) => checks) },
    { id: "clock", checks: ifAnswers(checkClock) },
    {
      id: "frames",
      checks: ifAnswers(async (whoami) => [await checkFrames(whoami?.answer.frames, ca, clock)]),
    },
  ];
}

/** Detects as the agent does, but without its cache, because a cache written by the doctor might belong to another user. */
async function detect(
  { env, clock }: DoctorOptions,
  { config: { runtimes, interpreters } }: ConfigSurvey,
): Promise<Detection> {
  const report = await detectImage({ env, clock, interpreters });
  const resolved = resolveRuntimes({
    override: env["FLEET_AGENT_RUNTIMES"],
    config: runtimes,
    detected: detectedRuntimes(report),
    interpreters,
  });
  return { report, resolved };
}

function spoolOf({ config }: ConfigSurvey, { report }: Detection): readonly Check[] {
  const sensors = config.sensors.length;
  const { memory_max_bytes: memoryMaxBytes } = report.image.cgroup;
  const hasDir = config.stateDir.at === "writable";
  const { bytesMax } = spoolBounds({ config: config.spool, hasDir, sensors, memoryMaxBytes });
  return checkSpool({ sensors, bytesMax, hasDir, memoryMaxBytes });
}

function hung(id: CheckId): Check {
  return fail(
    id,
    `no result within ${PART_MS_MAX / 1000} s`,
    "Something hangs: check mounts, name servers and devices",
  );
}
