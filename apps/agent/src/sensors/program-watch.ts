/** Detects that a sensor's program was removed or replaced since the sensor was planned, as by an upgrade. (A11) */
import { statSync } from "node:fs";

/** Compares the file of one program with its state at construction. */
export class ProgramWatch {
  readonly #path: string;
  #seen: string | undefined;

  /** Watches `program` if it is a path; a bare name is looked up at each start anyway. */
  constructor(program: string) {
    this.#path = program;
    this.#seen = identityOf(program);
  }

  /** The change since the last call, as a sentence; undefined if there is none. */
  change(): string | undefined {
    if (!this.#path.includes("/")) return undefined;
    const now = identityOf(this.#path);
    if (now === this.#seen) return undefined;
    const wasThere = this.#seen !== undefined;
    this.#seen = now;
    if (now === undefined) return `${this.#path} was removed since the agent inspected it`;
    return wasThere
      ? `${this.#path} was replaced since the agent inspected it: it may be another version now`
      : `${this.#path} exists again: it may be another version now`;
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
