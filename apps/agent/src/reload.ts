/**
 * Reloads the config of a running agent, on SIGHUP. An invalid config is logged and changes nothing; changed settings that need
 * a restart are logged and keep their old values. Used by run.ts. (A12)
 */
import { ConfigError, type Log } from "@fleet/daemon";
import type { AgentConfig } from "./config/config.ts";
import type { Detection } from "./detection/detect.ts";

/** What a reload needs. `load` throws `ConfigError`. */
export interface ReloadOptions {
  /** The config with which the agent was started. */
  readonly config: AgentConfig;
  readonly load: () => AgentConfig;
  readonly detect: (config: AgentConfig) => Promise<Detection>;
  readonly apply: (config: AgentConfig, detection: Detection) => Promise<void>;
  readonly log: Log;
}

/** Settings that need a restart, by their path in the file. */
const FIXED = {
  "coordinator.url": "coordinatorUrl",
  "coordinator.ca_file": "ca",
  "node.name": "nodeName",
  spool: "spool",
  health: "health",
} as const satisfies Readonly<Record<string, keyof AgentConfig>>;

/** Runs one reload at a time; requests during a reload cause one more. */
export class Reload {
  readonly #options: ReloadOptions;
  #config: AgentConfig;
  #running: Promise<void> | undefined;
  #again = false;

  constructor(options: ReloadOptions) {
    this.#options = options;
    this.#config = options.config;
  }

  /** Requests a reload. Resolves once none is pending. Never rejects. */
  ask(): Promise<void> {
    if (this.#running !== undefined) this.#again = true;
    this.#running ??= this.#run().finally(() => (this.#running = undefined));
    return this.#running;
  }

  async #run(): Promise<void> {
    do {
      this.#again = false;
      try {
        await this.#reload();
      } catch (err) {
        this.#options.log.error({ err }, "could not apply the config");
      }
    } while (this.#again);
  }

  async #reload(): Promise<void> {
    const { load, detect, apply, log } = this.#options;
    let read: AgentConfig;
    try {
      read = load();
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      const { problems } = error;
      return log.error({ problems }, "the config is not valid; keeping the current one");
    }
    const config = this.#keepFixed(read);
    await apply(config, await detect(config));
    this.#config = config;
    log.info({ sensors: config.sensors.length }, "reloaded the config");
  }

  #keepFixed(read: AgentConfig): AgentConfig {
    const { coordinatorUrl, ca, nodeName, spool, health } = this.#config;
    for (const [setting, key] of Object.entries(FIXED)) {
      if (!Bun.deepEquals(read[key], this.#config[key]))
        this.#options.log.warn(
          { setting },
          `a change of ${setting} takes effect at the next start`,
        );
    }
    return { ...read, coordinatorUrl, ca, nodeName, spool, health };
  }
}
