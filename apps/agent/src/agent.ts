/**
 * Puts the agent together and orders its start and stop; no behaviour of its own. Started by main.ts once detection is done.
 *
 * Start: registration, uplinks, what an earlier agent left behind, sensors. Stop (A8): sensors, drain the spools, deregister, close, under one deadline.
 */
import { type Clock, type Log, LogLimiter, type Random, type Service } from "@fleet/daemon";
import {
  type AgentHealth,
  instanceDigest,
  type InstanceId,
  instanceIdSchema,
  type NodeClass,
  type RegisterRequest,
  type SensorName,
} from "@fleet/protocol";
import { detectedRuntimes } from "@fleet/runtimes";
import type { AgentConfig, HealthConfig } from "./config/config.ts";
import { CoordinatorClient } from "./registration/coordinator-client.ts";
import type { Detection } from "./detection/detect.ts";
import { readEnrollTokens } from "./config/enroll-tokens.ts";
import { HealthServer } from "./health-server.ts";
import type { Identity } from "./state/identity.ts";
import type { Environment } from "./process/image-env.ts";
import { ProcessJournal, type LedgerEntry, readLedger } from "./sensors/process-journal.ts";
import { endLeftovers } from "./sensors/leftovers.ts";
import { Registration } from "./registration/registration.ts";
import { thisHost } from "./sensors/sensor-host.ts";
import { SensorPipelines, type SensorPlans } from "./sensors/sensor-pipelines.ts";
import { planSensor } from "./sensors/sensor-plan.ts";
import { spoolBounds } from "./spool/spool-size.ts";
import type { Spool } from "./spool/spool.ts";
import { makeUndumpable } from "./process/undumpable.ts";
import { Uplink } from "./uplink/uplink.ts";
import { VERSION } from "@fleet/daemon/version";

/** What an agent is made from. */
export interface AgentOptions {
  readonly config: AgentConfig;
  readonly detection: Detection;
  readonly identity: Identity;
  /** The image's environment as it was. */
  readonly env: Environment;
  readonly hostname: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Another process speaks for this node, `why` in the coordinator's words: the agent has to stop. Called at most once. */
  readonly onSuperseded: (why: string) => void;
}

/** What a session's `superseded` says, which has no words of its own. */
const TAKEN_OVER = "a newer instance has taken this node over";
/** By which part of the stop's time each step has to be done. */
const SENSORS_BY = 0.5;
const DRAINED_BY = 0.8;
const DEREGISTERED_BY = 0.95;

/** One run of the agent. */
export class Agent implements Service {
  readonly #options: AgentOptions;
  readonly #instanceId: InstanceId = instanceIdSchema.parse(crypto.randomUUID());
  readonly #complaints: LogLimiter;
  readonly #leftovers: readonly LedgerEntry[];
  readonly #lines: SensorPipelines;
  readonly #registration: Registration;
  readonly #health: HealthServer | undefined;
  #config: AgentConfig;
  #detection: Detection;
  #isSuperseded = false;
  #stopping: Promise<void> | undefined;

  constructor(options: AgentOptions) {
    const { config, detection, clock, log } = options;
    this.#options = options;
    this.#config = config;
    this.#detection = detection;
    this.#complaints = new LogLimiter(clock);
    const stateDir = config.stateDir.at === "writable" ? config.stateDir.path : undefined;
    // Before anything writes the next one.
    this.#leftovers = stateDir === undefined ? [] : readLedger(stateDir, log);
    this.#lines = this.#newLines(stateDir);
    this.#registration = this.#newRegistration();
    this.#health = config.health && this.#newHealth(config.health);
  }

  start(): void {
    const { clock, log } = this.#options;
    makeUndumpable(log);
    // First, since a register tells its address.
    this.#health?.start();
    this.#registration.start();
    this.#lines.connect();
    if (this.#leftovers.length === 0) return this.#lines.run();
    void endLeftovers({ entries: this.#leftovers, clock, log }).then(() => this.#lines.run());
  }

  /**
   * Takes up another config and what was detected under it: sensors, group, class, labels, runtimes. The coordinator's
   * address, the node's name and the spools stay as they were.
   */
  async reconfigure(config: AgentConfig, detection: Detection): Promise<void> {
    const before = JSON.stringify(this.#registerRequest());
    this.#config = config;
    this.#detection = detection;
    const { started, restarted, stopped } = await this.#lines.reconfigure(
      plansOf(config, detection),
    );
    if (JSON.stringify(this.#registerRequest()) !== before) this.#registration.announce();
    this.#options.log.info({ started, restarted, stopped }, "sensors follow the config");
  }

  /** The last lines of a sensor's log, oldest first; undefined when there is no such sensor. */
  logTail(sensor: string, linesMax: number): string[] | undefined {
    return this.#lines.tail(sensor, linesMax);
  }

  stop(deadlineMs: number): Promise<void> {
    this.#stopping ??= this.#stop(deadlineMs);
    return this.#stopping;
  }

  /** The process ends now, in order or not: leaves no sensor behind. */
  kill(): void {
    this.#lines.kill();
  }

  async #stop(deadlineMs: number): Promise<void> {
    const { clock, log } = this.#options;
    const nowMs = clock.monotonicMs();
    const by = (part: number): number => nowMs + (deadlineMs - nowMs) * part;
    await this.#lines.stopSensors(by(SENSORS_BY));
    // A coordinator that has a newer agent takes nothing from this one.
    if (!this.#isSuperseded) await this.#lines.drain(by(DRAINED_BY));
    this.#lines.tellFramesLeft();
    await this.#registration
      .stop(by(DEREGISTERED_BY))
      .catch((err: unknown) => log.warn({ err }, "could not stop checking in"));
    await this.#lines.close(deadlineMs);
    await this.#health?.stop();
  }

  #newLines(stateDir: string | undefined): SensorPipelines {
    const { env: image, identity, clock, random, log, config, detection } = this.#options;
    return new SensorPipelines(plansOf(config, detection), {
      image,
      nodeId: identity.nodeId,
      coordinatorUrl: config.coordinatorUrl,
      secrets: this.#enrollTokens(),
      stateDir,
      spool: spoolBounds({
        config: config.spool,
        hasDir: stateDir !== undefined,
        sensors: config.sensors.length,
        memoryMaxBytes: detection.report.image.cgroup.memory_max_bytes,
      }),
      processJournal: new ProcessJournal(stateDir, log),
      newUplink: (sensor, spool, lineLog) => this.#newUplink(sensor, spool, lineLog),
      clock,
      random,
      log,
    });
  }

  #newUplink(sensor: SensorName, spool: Spool, log: Log): Uplink {
    const { clock, random, config } = this.#options;
    return new Uplink({
      sensor,
      spool,
      ca: config.ca,
      clock,
      random,
      log,
      grant: () => this.#registration.grant,
      onUnauthorized: (refused) => this.#registration.renew(refused),
      onSuperseded: () => this.#superseded(TAKEN_OVER),
      onLost: () => this.#registration.nudge(),
    });
  }

  #newRegistration(): Registration {
    const { config, identity, clock, random, log } = this.#options;
    return new Registration({
      client: new CoordinatorClient({ url: config.coordinatorUrl, ca: config.ca, clock }),
      clock,
      random,
      log,
      identity,
      request: () => this.#registerRequest(),
      enrollTokens: () => this.#enrollTokens(),
      counters: () => this.#lines.counters(),
      onGrant: () => this.#lines.granted(),
      onSuperseded: (why) => this.#superseded(why),
    });
  }

  #newHealth(config: HealthConfig): HealthServer {
    const { identity, hostname, log } = this.#options;
    const answer = (): AgentHealth => ({
      node_id: identity.nodeId,
      instance_sha256: instanceDigest(this.#instanceId),
      version: VERSION,
      status: this.#registration.state.at,
    });
    return new HealthServer({ config, hostname, answer, log });
  }

  #enrollTokens(): string[] {
    return readEnrollTokens(this.#config.enrollTokens, this.#options.log, this.#complaints);
  }

  #registerRequest(): RegisterRequest {
    const { identity, hostname } = this.#options;
    const config = this.#config;
    const { report, resolved } = this.#detection;
    const working = new Set(detectedRuntimes(report));
    const agentUrl = this.#health?.agentUrl;
    const byStateDir: NodeClass = config.stateDir.at === "writable" ? "persistent" : "ephemeral";
    return {
      node_id: identity.nodeId,
      instance_id: this.#instanceId,
      ...(config.group === undefined ? {} : { group: config.group }),
      class: config.class ?? byStateDir,
      labels: config.labels,
      version: VERSION,
      ...(agentUrl === undefined ? {} : { agent_url: agentUrl }),
      runtimes: resolved.runtimes.map((name) => {
        const found = working.has(name)
          ? report.interpreters.find((i) => i.name === name)
          : undefined;
        if (found?.verdict !== "ok") return { name, version: null, path: null };
        return { name, version: found.version, path: found.path };
      }),
      sensors: this.#lines.infos(),
      platform: {
        hostname: hostname.slice(0, 256),
        arch: report.image.arch,
        kernel: report.image.kernel.slice(0, 256),
        os: (report.image.os?.pretty_name ?? "unnamed").slice(0, 256),
        libc: [report.image.libc.family, report.image.libc.version ?? ""].join(" ").trim(),
      },
    };
  }

  #superseded(why: string): void {
    if (this.#isSuperseded || this.#stopping !== undefined) return;
    this.#isSuperseded = true;
    this.#registration.supersede();
    this.#options.onSuperseded(why);
  }
}

function plansOf(config: AgentConfig, detection: Detection): SensorPlans {
  const host = thisHost();
  return {
    plans: config.sensors.map((sensor) => planSensor(sensor, detection, host)),
    runtimes: detection.resolved.runtimes.join(","),
  };
}
