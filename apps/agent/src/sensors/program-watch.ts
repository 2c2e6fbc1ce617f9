/** Notices when the program of a sensor is not the one any more that was looked at: removed, or replaced by an upgrade. (A11) */
import { statSync } from "node:fs";

/** One for each planned sensor; it remembers the file as it is when it is made. */
export class ProgramWatch {
  readonly #path: string;
  #seen: string | undefined;

  /** `program`: a path; a mere name is not watched, since it is looked up anew each time. */
  constructor(program: string) {
    this.#path = program;
    this.#seen = identityOf(program);
  }

  /** What has changed since this was last asked; undefined when nothing has. */
  change(): string | undefined {
    if (!this.#path.includes("/")) return undefined;
    const now = identityOf(this.#path);
    if (now === this.#seen) return undefined;
    const wasThere = this.#seen !== undefined;
    this.#seen = now;
    if (now === undefined) return `${this.#path} is gone; it was there when the agent looked`;
    return wasThere
      ? `${this.#path} was replaced since the agent looked: it may be another version now`
      : `${this.#path} is there again, maybe in another version`;
  }
}

function identityOf(path: string): string | undefined {
  try {
    const { dev, ino, size, mtimeMs } = statSync(path);
    return [dev, ino, size, mtimeMs].join(":");
  } catch {
    return undefined;
  }
}
