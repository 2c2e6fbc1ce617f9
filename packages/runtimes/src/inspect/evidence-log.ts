/** Records the steps towards a verdict for `--why`. (A7) */
import type { Evidence } from "../image-report.ts";
import { printable } from "./printable.ts";

/** Steps kept for one interpreter; further ones are only counted. */
export const STEPS_MAX = 64;

const FOUND_CHARS_MAX = 300;

/** The steps of one interpreter's detection, at most STEPS_MAX. */
export class EvidenceLog {
  readonly #steps: Evidence[] = [];
  #more = 0;

  add(check: Evidence["check"], path: string | null, found: string): void {
    if (this.#steps.length < STEPS_MAX)
      this.#steps.push({ path, check, found: printable(found, FOUND_CHARS_MAX) });
    else this.#more++;
  }

  get steps(): readonly Evidence[] {
    if (this.#more === 0) return this.#steps;
    const more = { path: null, check: "verdict", found: `${this.#more} more steps` } as const;
    return [...this.#steps, more];
  }
}
