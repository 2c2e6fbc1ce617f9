/**
 * Reads the config again while the agent runs, on SIGHUP. What is wrong with it is told and changes nothing; what can only
 * be taken up by a new process is named and stays as it was. (A12)
 */
import { ConfigError, type Log } from "@fleet/daemon";
import type { AgentConfig } from "./config/config.ts";
import type { Detection } from "./detection/detect.ts";

/** What reloading needs. `load` throws `ConfigError`. */
export interface ReloadOptions {
  /** What the agent was started with. */
  readonly config: AgentConfig;
  readonly load: () => AgentConfig;
  readonly detect: (config: AgentConfig) => Promise<Detection>;
  readonly apply: (config: AgentConfig, detection: Detection) => Promise<void>;
  readonly log: Log;
}

/** Settings that a running agent is built on, by their path in the file. */
const FIXED = {
  "coordinator.url": "coordinatorUrl",
  "coordinator.ca_file": "ca",
  "node.name": "nodeName",
  spool: "spool",
  health: "health",
} as const satisfies Readonly<Record<string, keyof AgentConfig>>;

/** One reload at a time; however many are asked for meanwhile, one more follows. */
export class Reload {
  readonly #options: ReloadOptions;
  #config: AgentConfig;
  #running: Promise<void> | undefined;
  #again = false;

  constructor(options: ReloadOptions) {
    this.#options = options;
    this.#config = options.config;
  }

  /** Resolves when nothing is left to reload. Never rejects. */
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
        this.#options.log.error({ err }, "the config could not be taken up");
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
      return log.error({ problems }, "the config is wrong; the one in force stays");
    }
    const config = this.#keepFixed(read);
    await apply(config, await detect(config));
    this.#config = config;
    log.info({ sensors: config.sensors.length }, "config read again");
  }

  #keepFixed(read: AgentConfig): AgentConfig {
    const { coordinatorUrl, ca, nodeName, spool, health } = this.#config;
    for (const [setting, key] of Object.entries(FIXED)) {
      if (!Bun.deepEquals(read[key], this.#config[key]))
        this.#options.log.warn({ setting }, `a changed ${setting} takes effect at the next start`);
    }
    return { ...read, coordinatorUrl, ca, nodeName, spool, health };
  }
}
