/** A process that cleans up when the script that started it is killed with SIGKILL. The work is done by guard.sh. */
import { join } from "node:path";
import type { LoggedProcess } from "./logged-process.ts";

/** Start it before the processes it watches; dismiss it after the last of them has ended. */
export class Guard {
  readonly #child: Bun.Subprocess<"pipe", "ignore", "ignore">;

  /**
   * `mark` (`NAME=value`) is in the environment of every process to kill. The guard then removes `dir`; undefined keeps all
   * files.
   */
  constructor(mark: string, dir: string | undefined) {
    this.#child = Bun.spawn(["sh", join(import.meta.dir, "guard.sh"), mark, dir ?? ""], {
      cwd: "/",
      stdin: "pipe",
      stdout: "ignore",
      stderr: "ignore",
      detached: true,
    });
  }

  /** Adds a process to those the guard kills, until it ends. */
  watch(child: LoggedProcess): void {
    this.#send(`started ${child.pid}`);
    void child.gone.then(() => this.#send(`ended ${child.pid}`));
  }

  /** Ends the guard without any clean-up. */
  dismiss(): void {
    this.#send("done");
    void this.#child.stdin.end();
  }

  /** A guard that was killed itself is no reason to fail, so errors are ignored. */
  #send(line: string): void {
    const { stdin } = this.#child;
    void (async () => {
      await stdin.write(`${line}\n`);
      await stdin.flush();
    })().catch(() => {});
  }
}
