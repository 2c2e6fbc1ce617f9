/**
 * A hook: a point in a module's work that any number of listeners may follow, and may answer. Listeners are called
 * synchronously, in the order in which they were added; one that throws ends the call.
 */
export class Hook<Args extends readonly unknown[], Answer = void> {
  readonly #listeners = new Set<(...args: Args) => Answer>();

  /** Adds a listener; returns the function that removes it. */
  add(listener: (...args: Args) => Answer): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Calls every listener and returns their answers. */
  call(...args: Args): readonly Answer[] {
    return Array.from(this.#listeners, (listener) => listener(...args));
  }
}
