/** Counters by reason, for refused or dropped items. Reasons are literals in the code, so their number is bounded. */
export class Counts {
  readonly #counts = new Map<string, number>();

  add(reason: string, by = 1): void {
    this.#counts.set(reason, (this.#counts.get(reason) ?? 0) + by);
  }

  get(reason: string): number {
    return this.#counts.get(reason) ?? 0;
  }

  entries(): readonly (readonly [string, number])[] {
    return [...this.#counts];
  }
}
