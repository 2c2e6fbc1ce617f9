/** Draws the demo's screen in place, with colours for states. */

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
/** Matches a state only in a column of its own, with spaces on both sides. */
const STATE = /(?<=\S {2,})(LIVE|RUNNING|STALE|BACKOFF|OUTAGE|DEAD|skipped|ended)(?= {2}|$)/g;

/** The part of a terminal that this module uses. */
export interface Terminal {
  readonly columns?: number;
  readonly rows?: number;
  write(text: string): unknown;
}

/** Redraws the terminal's alternate screen. `close` restores the cursor and the previous contents. */
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

  /** Shows `lines`, which must fit the width. Leaves out lines beyond the terminal's height. */
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
