/**
 * `fleet-agent run`: loads settings and identity, then runs the agent until a signal or a newer process ends it. main.ts has
 * started the detection before it loads this file. (A5, A8, A12, A14)
 */
import { hostname } from "node:os";
import {
  type Clock,
  createLog,
  every,
  exitCodeOf,
  type Log,
  onStopSignals,
  systemRandom,
} from "@fleet/daemon";
import { Agent } from "./agent.ts";
import type { RunFlags } from "./config/run-flags.ts";
import { type AgentConfig, loadConfig } from "./config/config.ts";
import { type Detecting, type Detection, startDetection } from "./detection/detect.ts";
import { EXIT_SUPERSEDED } from "./cli/exit-codes.ts";
import { type Identity, loadIdentity } from "./state/identity.ts";
import type { Environment } from "./process/image-env.ts";
import { Reload } from "./reload.ts";
import { takeStateDir } from "./state/state-dir-lock.ts";

/** How often an agent that stays without sensors logs that. */
const STAY_LOG_MS = 3_600_000;

/** Runs the agent, and ends the process with it. Throws `ConfigError` and `StateDirInUseError`. */
export async function run(
  flags: RunFlags,
  env: Environment,
  clock: Clock,
  detecting: Detecting,
): Promise<void> {
  let isAskedEarly = false;
  let onHangup = (): void => void (isAskedEarly = true);
  process.on("SIGHUP", () => onHangup());
  const config = loadConfig(flags, env);
  const log = createLog(config.logLevel, "fleet-agent");
  const identity = identify(config, clock, log);
  const detection = await detecting.finish(config);
  logDetection(detection, log);
  // For every process started from here on; an override is passed on unchanged. (A5)
  const { tier, runtimes } = detection.resolved;
  if (tier !== "override") process.env["FLEET_AGENT_RUNTIMES"] = runtimes.join(",");
  let { stopTimeoutMs } = config;
  const end = (exitCode: number): void => {
    void agent.stop(clock.monotonicMs() + stopTimeoutMs).finally(() => process.exit(exitCode));
  };
  /** Keeps the process alive without sensors, and logs that every hour. */
  const stay = (fields: Record<string, unknown>): void => {
    const report = (): void =>
      log.error(fields, "another process speaks for this node; staying without sensors");
    report();
    every(clock, STAY_LOG_MS, report);
    onHangup = () => {};
    void agent.stop(clock.monotonicMs() + stopTimeoutMs);
  };
  const agent = new Agent({
    config,
    detection,
    identity,
    env,
    hostname: hostname(),
    clock,
    random: systemRandom,
    log,
    onSuperseded: (why) => {
      const fields = { node_id: identity.nodeId, why };
      if (config.onSuperseded === "stay") return stay(fields);
      log.error(fields, "another process speaks for this node; exiting");
      end(EXIT_SUPERSEDED);
    },
  });
  const reload = new Reload({
    config,
    load: () => loadConfig(flags, env),
    detect: (next) => startDetection(flags, env, clock).finish(next),
    apply: (next, found) => {
      ({ stopTimeoutMs } = next);
      return agent.reconfigure(next, found);
    },
    log,
  });
  process.on("exit", () => agent.kill());
  onStopSignals((signal) => {
    log.info({ signal }, "stopping");
    end(exitCodeOf(signal));
  });
  agent.start();
  onHangup = () => void reload.ask();
  if (isAskedEarly) onHangup();
}

function logDetection({ report, resolved }: Detection, log: Log): void {
  const { runtimes, tier, problems } = resolved;
  log.info({ runtimes, tier, took_ms: report.took_ms }, "detected runtimes");
  for (const { code, name, message } of problems) log.warn({ code, name }, message);
}

function identify(config: AgentConfig, clock: Clock, log: Log): Identity {
  const { stateDir, nodeName: name } = config;
  if (stateDir.at === "none")
    log.warn(
      { reason: stateDir.reason },
      "no state directory: identity and spool are in memory only",
    );
  else takeStateDir(stateDir.path, hostname(), log);
  return loadIdentity({
    name,
    stateDir: stateDir.at === "writable" ? stateDir.path : undefined,
    hostname: hostname(),
    clock,
    log,
  });
}
