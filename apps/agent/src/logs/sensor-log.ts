/**
 * The log of one sensor: the stderr of its runs and the events of its processes, one stamped line each.
 *
 *   2026-07-08T08:40:00.123Z run=3 pid=4711 * started /usr/bin/python3
 *   2026-07-08T08:40:00.456Z run=3 pid=4711 | Traceback (most recent call last):
 *   2026-07-08T08:40:00.460Z run=3 pid=4711 * exited with code 1 after 0.3 s
 *
 * Text after `|` is the sensor's, text after `*` the agent's. A sensor can neither forge a stamp nor send control sequences to a
 * terminal: characters that are not printable are escaped or removed. Runs are counted from the agent's start. (A11)
 */
import type { Clock } from "@fleet/daemon";
import { CutLines } from "./cut-lines.ts";
import type { LogStore } from "./log-store.ts";
import type { StderrEcho } from "./stderr-echo.ts";

/** The longest text of a line, both before and after escaping. */
const LINE_BYTES_MAX = 8192;
/** The sustained rate of a sensor, after a burst of the size of the store. */
const BYTES_PER_S = 256 * 1024;
// oxlint-disable-next-line no-control-regex -- the characters to escape
const CONTROL = /[\u0000-\u0008\u000a-\u001f\u007f-\u009f\u2028\u2029]/g;

/** `burstBytes` is the most that may be written at once: as much as `store` keeps. */
export interface SensorLogOptions {
  readonly store: LogStore;
  readonly burstBytes: number;
  readonly echo: StderrEcho;
  readonly clock: Clock;
}

/** One per sensor, across its runs. */
export class SensorLog {
  readonly #options: SensorLogOptions;
  readonly #lines = new CutLines(LINE_BYTES_MAX);
  readonly #decoder = new TextDecoder();
  readonly #encoder = new TextEncoder();
  readonly #scratch = new Uint8Array(LINE_BYTES_MAX);
  #run = "";
  #allowance: number;
  #refilledMs: number;
  #dropped = 0;

  constructor(options: SensorLogOptions) {
    this.#options = options;
    this.#allowance = options.burstBytes;
    this.#refilledMs = options.clock.monotonicMs();
  }

  /** Marks the start of a run; later lines carry its stamp. With `program`, also writes a line. */
  started(run: number, pid: number, program?: string): void {
    this.#run = ` run=${run} pid=${pid}`;
    if (program !== undefined) this.event(`started ${program}`);
  }

  /** Marks the end of a run: writes the rest of stderr, then `how`, if given, as a line. */
  ended(how: string | undefined): void {
    const lines: Uint8Array[] = [];
    this.#lines.end((bytes, cutBytes) => this.#take(lines, bytes, cutBytes));
    if (how !== undefined) lines.push(this.#format("*", how));
    if (lines.length > 0) this.#options.store.append(lines);
    this.#run = "";
  }

  /** Writes an event. The text is the agent's, and may quote the sensor. */
  event(text: string): void {
    this.#options.store.append([this.#format("*", printable(text))]);
  }

  /** Takes a chunk of stderr, cut anywhere. */
  push(chunk: Uint8Array): void {
    const lines: Uint8Array[] = [];
    this.#refill();
    this.#lines.push(chunk, (bytes, cutBytes) => this.#take(lines, bytes, cutBytes));
    if (lines.length > 0) this.#options.store.append(lines);
  }

  /** The last `linesMax` lines, oldest first. */
  tail(linesMax: number): string[] {
    return this.#options.store.tail(linesMax);
  }

  /** Closes the store; nothing may be written afterwards. */
  close(): void {
    this.#options.store.close();
  }

  #take(lines: Uint8Array[], bytes: Uint8Array, cutBytes: number): void {
    if (bytes.length === 0 && cutBytes === 0) return;
    if (this.#allowance < bytes.length) {
      this.#dropped++;
      return;
    }
    if (this.#dropped > 0) {
      lines.push(this.#format("*", `${this.#dropped} lines dropped: too many at once`));
      this.#dropped = 0;
    }
    const text = printable(this.#decoder.decode(bytes));
    const mark = cutBytes === 0 ? "" : ` …[cut, ${cutBytes} more bytes]`;
    const line = this.#format("|", text, mark);
    this.#allowance -= line.length;
    lines.push(line);
    this.#options.echo.line(`${text}${mark}`);
  }

  /** One line: the stamp and at most LINE_BYTES_MAX bytes of text. */
  #format(kind: "|" | "*", text: string, mark = ""): Uint8Array {
    const time = new Date(this.#options.clock.nowMs()).toISOString();
    const { read, written } = this.#encoder.encodeInto(text, this.#scratch);
    const end = read < text.length && mark === "" ? " …[cut]" : mark;
    return Buffer.concat([
      this.#encoder.encode(`${time}${this.#run} ${kind} `),
      this.#scratch.subarray(0, written),
      this.#encoder.encode(`${end}\n`),
    ]);
  }

  #refill(): void {
    const nowMs = this.#options.clock.monotonicMs();
    const refill = ((nowMs - this.#refilledMs) / 1000) * BYTES_PER_S;
    this.#allowance = Math.min(this.#options.burstBytes, this.#allowance + refill);
    this.#refilledMs = nowMs;
  }
}

function printable(text: string): string {
  return Bun.stripANSI(text).replace(
    CONTROL,
    (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
}
