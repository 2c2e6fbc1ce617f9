/**
 * Puts the agent together and orders its start and stop; no behaviour of its own. Started by main.ts once detection is done.
 *
 * Start: registration, uplinks, sensors. Stop (A8): sensors, drain the spools, deregister, close, under one deadline.
 */
import { type Clock, type Log, type Random, type Service } from "@fleet/daemon";
import {
  type InstanceId,
  instanceIdSchema,
  type NodeClass,
  type RegisterRequest,
  type SensorCounters,
  type SensorName,
  type SpoolId,
  spoolIdSchema,
} from "@fleet/protocol";
import { detectedRuntimes } from "@fleet/runtimes";
import type { AgentConfig } from "./config.ts";
import type { SensorConfig } from "./config-sensor.ts";
import { CoordinatorClient } from "./coordinator-client.ts";
import type { Detection } from "./detect.ts";
import { readEnrollTokens } from "./enroll-tokens.ts";
import type { Identity } from "./identity.ts";
import type { Environment } from "./image-env.ts";
import { MemorySpool } from "./memory-spool.ts";
import { Registration } from "./registration.ts";
import { RepeatGate } from "./repeat-gate.ts";
import { sensorEnvironment } from "./sensor-env.ts";
import { SensorOutput } from "./sensor-output.ts";
import { planSensor } from "./sensor-plan.ts";
import { newSensor, type Sensor } from "./sensors.ts";
import { makeUndumpable } from "./undumpable.ts";
import { Uplink } from "./uplink.ts";
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
  /** A newer process speaks for this node: the agent has to end. Called at most once. */
  readonly onSuperseded: () => void;
}

/** A sensor with all that belongs to it. */
interface Line {
  readonly config: SensorConfig;
  readonly output: SensorOutput;
  readonly uplink: Uplink;
  readonly sensor: Sensor;
}

/** By which part of the stop's time each step has to be done. */
const SENSORS_BY = 0.5;
const DRAINED_BY = 0.8;
const DEREGISTERED_BY = 0.95;

/** One run of the agent. */
export class Agent implements Service {
  readonly #options: AgentOptions;
  readonly #instanceId: InstanceId = instanceIdSchema.parse(crypto.randomUUID());
  readonly #lines: readonly Line[];
  readonly #registration: Registration;
  #isSuperseded = false;
  #stopping: Promise<void> | undefined;

  constructor(options: AgentOptions) {
    this.#options = options;
    const plans = options.config.sensors.map((config) => planSensor(config, options.detection));
    this.#lines = plans.flatMap((plan) => {
      if (plan.at === "runnable") return [this.#newLine(plan.config, plan.argv)];
      const { name, runtime } = plan.config;
      options.log.error({ sensor: name, runtime }, `sensor ${name} can't run here: ${plan.reason}`);
      return [];
    });
    this.#registration = this.#newRegistration();
  }

  start(): void {
    makeUndumpable(this.#options.log);
    this.#registration.start();
    for (const { uplink } of this.#lines) uplink.start();
    for (const { sensor } of this.#lines) void sensor.start();
  }

  stop(deadlineMs: number): Promise<void> {
    this.#stopping ??= this.#stop(deadlineMs);
    return this.#stopping;
  }

  /** The process ends now, in order or not: leaves no sensor behind. */
  kill(): void {
    for (const { sensor } of this.#lines) sensor.kill();
  }

  async #stop(deadlineMs: number): Promise<void> {
    const { clock, log } = this.#options;
    const nowMs = clock.monotonicMs();
    const by = (part: number): number => nowMs + (deadlineMs - nowMs) * part;
    await this.#each("sensor", ({ sensor }) => sensor.stop(by(SENSORS_BY)));
    // A coordinator that has a newer agent takes nothing from this one.
    if (!this.#isSuperseded)
      await this.#each("spool", ({ uplink }) => uplink.drain(by(DRAINED_BY)));
    for (const { config, uplink } of this.#lines)
      if (uplink.framesLeft > 0)
        log.warn({ sensor: config.name, frames: uplink.framesLeft }, "frames are left behind");
    await this.#registration
      .stop(by(DEREGISTERED_BY))
      .catch((err: unknown) => log.warn({ err }, "could not stop checking in"));
    await this.#each("uplink", ({ uplink }) => uplink.stop(deadlineMs));
  }

  /** Does `stop` to every line at once; a part that fails does not keep the others. */
  async #each(part: string, stop: (line: Line) => Promise<void>): Promise<void> {
    const results = await Promise.allSettled(this.#lines.map(stop));
    for (const [index, result] of results.entries()) {
      if (result.status === "fulfilled") continue;
      const sensor = this.#lines[index]?.config.name;
      this.#options.log.warn({ sensor, err: result.reason }, `could not stop the ${part} in time`);
    }
  }

  #newLine(config: SensorConfig, argv: readonly string[]): Line {
    const { env: image, identity, clock, random, detection } = this.#options;
    const { coordinatorUrl, spoolBytesMax } = this.#options.config;
    const log = this.#options.log.child({ sensor: config.name });
    const spoolId: SpoolId = spoolIdSchema.parse(crypto.randomUUID());
    const spool = new MemorySpool({ spoolId, bytesMax: spoolBytesMax });
    const output = new SensorOutput({ spool, clock, log });
    const env = sensorEnvironment({
      image,
      sensor: config.name,
      nodeId: identity.nodeId,
      coordinatorUrl,
      runtimes: detection.resolved.runtimes.join(","),
      declared: config.env,
    });
    const sensor = newSensor({ config, argv, env, output, clock, random, log });
    return { config, output, uplink: this.#newUplink(config.name, spool, log), sensor };
  }

  #newUplink(sensor: SensorName, spool: MemorySpool, log: Log): Uplink {
    const { clock, random } = this.#options;
    return new Uplink({
      sensor,
      spool,
      clock,
      random,
      log,
      grant: () => this.#registration.grant,
      onUnauthorized: (refused) => this.#registration.renew(refused),
      onSuperseded: () => this.#superseded(),
      onLost: () => this.#registration.nudge(),
    });
  }

  #newRegistration(): Registration {
    const { config, identity, clock, random, log } = this.#options;
    const complaints = new RepeatGate(clock);
    return new Registration({
      client: new CoordinatorClient({ url: config.coordinatorUrl, clock }),
      clock,
      random,
      log,
      identity,
      request: () => this.#registerRequest(),
      enrollTokens: () => readEnrollTokens(config.enrollTokens, log, complaints),
      counters: () => this.#counters(),
      onGrant: () => {
        for (const { uplink } of this.#lines) uplink.granted();
      },
      onSuperseded: () => this.#superseded(),
    });
  }

  #registerRequest(): RegisterRequest {
    const { config, detection, identity, hostname } = this.#options;
    const { report, resolved } = detection;
    const working = new Set(detectedRuntimes(report));
    const byStateDir: NodeClass = config.stateDir.at === "writable" ? "persistent" : "ephemeral";
    return {
      node_id: identity.nodeId,
      instance_id: this.#instanceId,
      ...(config.group === undefined ? {} : { group: config.group }),
      class: config.class ?? byStateDir,
      labels: config.labels,
      version: VERSION,
      runtimes: resolved.runtimes.map((name) => {
        const found = working.has(name)
          ? report.interpreters.find((i) => i.name === name)
          : undefined;
        if (found?.verdict !== "ok") return { name, version: null, path: null };
        return { name, version: found.version, path: found.path };
      }),
      sensors: this.#lines.map(({ config: { name, runtime, mode } }) => ({ name, runtime, mode })),
      platform: {
        hostname: hostname.slice(0, 256),
        arch: report.image.arch,
        kernel: report.image.kernel.slice(0, 256),
        os: (report.image.os?.pretty_name ?? "unnamed").slice(0, 256),
        libc: [report.image.libc.family, report.image.libc.version ?? ""].join(" ").trim(),
      },
    };
  }

  #counters(): Record<string, SensorCounters> {
    return Object.fromEntries(
      this.#lines.map(({ config, output }) => [config.name, output.counters()]),
    );
  }

  #superseded(): void {
    if (this.#isSuperseded || this.#stopping !== undefined) return;
    this.#isSuperseded = true;
    this.#registration.supersede();
    this.#options.onSuperseded();
  }
}
