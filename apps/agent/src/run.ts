/**
 * `fleet-agent run`: settings, identity, then the agent until a signal or a newer process ends it. Detection is under way
 * already when main.ts loads this file. (A5, A8, A12, A14)
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

/** How often an agent that stays without sensors says so. */
const STAYING_MS = 3_600_000;

/** Runs the agent; the process ends in here. Throws `ConfigError`, `StateDirInUseError`. */
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
  tellDetection(detection, log);
  // For whatever is started from here on; an override stays as it was written. (A5)
  const { tier, runtimes } = detection.resolved;
  if (tier !== "override") process.env["FLEET_AGENT_RUNTIMES"] = runtimes.join(",");
  let { stopTimeoutMs } = config;
  const end = (exitCode: number): void => {
    void agent.stop(clock.monotonicMs() + stopTimeoutMs).finally(() => process.exit(exitCode));
  };
  /** Says so now and then, which also keeps the process: nothing else is left to do. */
  const stay = (said: Record<string, unknown>): void => {
    const tell = (): void =>
      log.error(said, "another process speaks for this node; staying without sensors");
    tell();
    every(clock, STAYING_MS, tell);
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
      const said = { node_id: identity.nodeId, why };
      if (config.onSuperseded === "stay") return stay(said);
      log.error(said, "another process speaks for this node; ending");
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

function tellDetection({ report, resolved }: Detection, log: Log): void {
  const { runtimes, tier, problems } = resolved;
  log.info({ runtimes, tier, took_ms: report.took_ms }, "runtimes detected");
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
