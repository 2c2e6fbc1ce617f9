/**
 * A program that the chaos test starts, kills, stops and freezes again and again. An end that the test did not ask for is a
 * violation. Used for agents and for the coordinator.
 */
import { join } from "node:path";
import { LoggedProcess, type Program } from "../../harness/logged-process.ts";

/** What the fleet passes to everything it runs. */
export interface Surroundings {
  /** The directory of this test run; logs go to `logs/` in it. */
  readonly dir: string;
  /** `NAME=value` for the environment of every process. */
  readonly mark: string;
  readonly watch: (child: LoggedProcess) => void;
  readonly reportViolation: (sentence: string) => void;
}

/** At most one process at a time; each start replaces the last one. */
export class RestartedProcess {
  readonly #name: string;
  readonly #surroundings: Surroundings;
  #child: LoggedProcess | undefined;
  #isEndWanted = false;
  #isFrozen = false;

  /** `name` is what violations call it. */
  constructor(name: string, surroundings: Surroundings) {
    this.#name = name;
    this.#surroundings = surroundings;
  }

  get isUp(): boolean {
    return this.#child !== undefined && this.#child.end === undefined;
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  start(program: Program): LoggedProcess {
    const { dir, mark, watch } = this.#surroundings;
    this.#isEndWanted = false;
    const child = new LoggedProcess(program, join(dir, "logs"), mark);
    this.#child = child;
    watch(child);
    return child;
  }

  /** From now on, until `kill` or `stop`, the end of the current process is a violation. */
  forbidEnd(): void {
    const child = this.#child;
    void child?.gone.then(() => {
      if (!this.#isEndWanted)
        this.#surroundings.reportViolation(`${this.#name} ended by itself: ${child.end}`);
    });
  }

  /** Sends SIGKILL and waits for the end. */
  async kill(): Promise<void> {
    this.#isEndWanted = true;
    this.#child?.kill();
    await this.#child?.gone;
    this.#forget();
  }

  /** Sends SIGTERM and waits for the end, which it returns; undefined if nothing was running. */
  async stop(): Promise<string | undefined> {
    this.thaw();
    this.#isEndWanted = true;
    const child = this.#child;
    await child?.stop();
    this.#forget();
    return child?.end;
  }

  /** Sends SIGSTOP. */
  freeze(): void {
    this.#isFrozen = true;
    this.#signal("SIGSTOP");
  }

  /** Sends SIGCONT if frozen. */
  thaw(): void {
    if (this.#isFrozen) this.#signal("SIGCONT");
    this.#isFrozen = false;
  }

  #forget(): void {
    this.#isFrozen = false;
    this.#child = undefined;
  }

  #signal(signal: NodeJS.Signals): void {
    if (this.isUp) process.kill(this.#child!.pid, signal);
  }
}
