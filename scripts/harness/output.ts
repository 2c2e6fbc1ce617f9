/** Standard output of a script. Uses the stream, because `console.log` does not report that the reader has gone (`| head`). */

/** Prints a line. */
export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Does `work`, and prints what it is and how long it takes. */
export async function step(what: string, work: () => Promise<unknown>): Promise<void> {
  process.stdout.write(`${what} … `);
  const startMs = performance.now();
  await work();
  print(`${((performance.now() - startMs) / 1000).toFixed(1)} s`);
}

/** Resolves when everything printed so far has been read, or can no longer be. */
export function flushOutput(): Promise<void> {
  return new Promise((resolve) => process.stdout.write("", () => resolve()));
}
