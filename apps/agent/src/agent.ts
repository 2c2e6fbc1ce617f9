/**
 * Constructs the parts of the agent and orders their start and stop; it has no behaviour of its own. Created by run.ts once
 * detection is done.
 *
 * Start: health server, registration, uplinks, sensors. Stop: sensors, drain the spools, deregister, close; all by one
 * deadline. (A8)
 */
import { ApiClient } from "@fleet/api-client";
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
import type { Detection } from "./detection/detect.ts";
import { readEnrollTokens } from "./config/enroll-tokens.ts";
import { HealthServer } from "./health-server.ts";
import type { Identity } from "./state/identity.ts";
import type { Environment } from "./process/image-env.ts";
import { Registration } from "./registration/registration.ts";
import { thisHost } from "./sensors/sensor-host.ts";
import { SensorPipelines, type SensorPlans } from "./sensors/sensor-pipelines.ts";
import { planSensor } from "./sensors/sensor-plan.ts";
import { spoolBounds } from "./spool/spool-size.ts";
import type { Spool } from "./spool/spool.ts";
import { makeUndumpable } from "./process/undumpable.ts";
import { Uplink } from "./uplink/uplink.ts";
import { VERSION } from "@fleet/daemon/version";

/** What an agent needs. */
export interface AgentOptions {
  readonly config: AgentConfig;
  readonly detection: Detection;
  readonly identity: Identity;
  /** The image's original environment. */
  readonly env: Environment;
  readonly hostname: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Another process speaks for this node, so the agent must stop; `why` is the coordinator's message. Called at most once. */
  readonly onSuperseded: (why: string) => void;
}

/** The reason when a session is superseded; the frame port sends none. */
const TAKEN_OVER = "a newer instance has taken this node over";
/** The largest response read from the coordinator. */
const ANSWER_BYTES_MAX = 1024 * 1024;
/** The share of the stop's time after which each step must be done. */
const SENSORS_BY = 0.5;
const DRAINED_BY = 0.8;
const DEREGISTERED_BY = 0.95;

/** One run of the agent. */
export class Agent implements Service {
  readonly #options: AgentOptions;
  readonly #instanceId: InstanceId = instanceIdSchema.parse(crypto.randomUUID());
  readonly #complaints: LogLimiter;
  readonly #sensors: SensorPipelines;
  readonly #registration: Registration;
  readonly #health: HealthServer | undefined;
  #config: AgentConfig;
  #detection: Detection;
  #isSuperseded = false;
  #stopping: Promise<void> | undefined;

  constructor(options: AgentOptions) {
    const { config, detection, clock } = options;
    this.#options = options;
    this.#config = config;
    this.#detection = detection;
    this.#complaints = new LogLimiter(clock);
    const stateDir = config.stateDir.at === "writable" ? config.stateDir.path : undefined;
    this.#sensors = this.#newSensors(stateDir);
    this.#registration = this.#newRegistration();
    this.#health = config.health && this.#newHealth(config.health);
  }

  start(): void {
    makeUndumpable(this.#options.log);
    // First, because the register request contains its address.
    this.#health?.start();
    this.#registration.start();
    this.#sensors.connect();
    void this.#sensors.start();
  }

  /**
   * Applies a changed config and the detection under it: sensors, group, class, labels, runtimes. The coordinator's address,
   * the node's name and the spools do not change.
   */
  async reconfigure(config: AgentConfig, detection: Detection): Promise<void> {
    const before = JSON.stringify(this.#registerRequest());
    this.#config = config;
    this.#detection = detection;
    const { started, restarted, stopped } = await this.#sensors.reconfigure(
      plansOf(config, detection),
    );
    if (JSON.stringify(this.#registerRequest()) !== before) this.#registration.announce();
    this.#options.log.info({ started, restarted, stopped }, "applied the config to the sensors");
  }

  /** The last lines of a sensor's log, oldest first; undefined if there is no such sensor. */
  logTail(sensor: string, linesMax: number): string[] | undefined {
    return this.#sensors.tail(sensor, linesMax);
  }

  stop(deadlineMs: number): Promise<void> {
    this.#stopping ??= this.#stop(deadlineMs);
    return this.#stopping;
  }

  /** Kills every sensor, because the process ends now. */
  kill(): void {
    this.#sensors.kill();
  }

  async #stop(deadlineMs: number): Promise<void> {
    const { clock, log } = this.#options;
    const nowMs = clock.monotonicMs();
    const by = (part: number): number => nowMs + (deadlineMs - nowMs) * part;
    await this.#sensors.stopSensors(by(SENSORS_BY));
    // A coordinator that has a newer agent accepts nothing from this one.
    if (!this.#isSuperseded) await this.#sensors.drain(by(DRAINED_BY));
    this.#sensors.logFramesLeft();
    await this.#registration
      .stop(by(DEREGISTERED_BY))
      .catch((err: unknown) => log.warn({ err }, "could not stop registration in time"));
    await this.#sensors.close(deadlineMs);
    await this.#health?.stop();
  }

  #newSensors(stateDir: string | undefined): SensorPipelines {
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
      newUplink: (sensor, spool, sensorLog) => this.#newUplink(sensor, spool, sensorLog),
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
      client: new ApiClient({
        url: config.coordinatorUrl,
        ca: config.ca,
        clock,
        responseBytesMax: ANSWER_BYTES_MAX,
      }),
      clock,
      random,
      log,
      identity,
      request: () => this.#registerRequest(),
      enrollTokens: () => this.#enrollTokens(),
      counters: () => this.#sensors.counters(),
      onGrant: () => this.#sensors.granted(),
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
      sensors: this.#sensors.infos(),
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
