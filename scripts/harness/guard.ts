/** The one who ends the demo's processes when the demo is killed and can't do it itself; the work is done by guard.sh. */
import { join } from "node:path";
import type { DemoProcess } from "./processes.ts";

/** Started before the processes it is told of, dismissed after the last of them has gone. */
export class Guard {
  readonly #child: Bun.Subprocess<"pipe", "ignore", "ignore">;

  /** `mark` is what all processes have in their environment; `dir` is removed if it comes to that, undefined: none is. */
  constructor(mark: string, dir: string | undefined) {
    this.#child = Bun.spawn(["sh", join(import.meta.dir, "guard.sh"), mark, dir ?? ""], {
      cwd: "/",
      stdin: "pipe",
      stdout: "ignore",
      stderr: "ignore",
      detached: true,
    });
  }

  watch(child: DemoProcess): void {
    this.#say(`started ${child.pid}`);
    void child.gone.then(() => this.#say(`ended ${child.pid}`));
  }

  /** Nothing is left to be done. */
  dismiss(): void {
    this.#say("done");
    void this.#child.stdin.end();
  }

  /** A guard that was killed hears nothing; the demo does without. */
  #say(line: string): void {
    const { stdin } = this.#child;
    void (async () => {
      await stdin.write(`${line}\n`);
      await stdin.flush();
    })().catch(() => {});
  }
}
