/**
 * A terminal redrawn in place, on the alternate screen, so that what was there before comes back. `close` always restores
 * the cursor.
 */

const ENTER = "\x1b[?1049h\x1b[?25l";
const LEAVE = "\x1b[?25h\x1b[?1049l";
const HOME = "\x1b[H";
const CLEAR_LINE = "\x1b[K";
const CLEAR_BELOW = "\x1b[J";
const RESET = "\x1b[0m";
const COLOURS: Readonly<Record<string, string>> = {
  LIVE: "\x1b[32m",
  RUNNING: "\x1b[32m",
  STALE: "\x1b[33m",
  BACKOFF: "\x1b[33m",
  OUTAGE: "\x1b[33m",
  DEAD: "\x1b[31m",
  skipped: "\x1b[33m",
  ended: "\x1b[31m",
};
/** A state stands in a column of its own, so that blanks are on both sides of it. */
const STATE = /(?<=\S {2,})(LIVE|RUNNING|STALE|BACKOFF|OUTAGE|DEAD|skipped|ended)(?= {2}|$)/g;

/** The part of a terminal that is used. */
export interface Terminal {
  readonly columns?: number;
  readonly rows?: number;
  write(text: string): unknown;
}

/** See the head of this file. */
export class LiveScreen {
  readonly #terminal: Terminal;
  readonly #isColoured: boolean;
  #isOpen = false;

  constructor(terminal: Terminal, isColoured: boolean) {
    this.#terminal = terminal;
    this.#isColoured = isColoured;
  }

  get width(): number {
    return this.#terminal.columns ?? 80;
  }

  /** Shows `lines`, which fit the width; those that are too many for the height are left out. */
  draw(lines: readonly string[]): void {
    const shown = lines.slice(0, Math.max(1, (this.#terminal.rows ?? 24) - 1));
    const text = shown.map((line) => `${this.#paint(line)}${CLEAR_LINE}\r\n`).join("");
    this.#terminal.write(`${this.#isOpen ? "" : ENTER}${HOME}${text}${CLEAR_BELOW}`);
    this.#isOpen = true;
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#terminal.write(LEAVE);
  }

  #paint(line: string): string {
    return this.#isColoured
      ? line.replace(STATE, (state) => `${COLOURS[state] ?? ""}${state}${RESET}`)
      : line;
  }
}
