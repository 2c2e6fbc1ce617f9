/** Standard output of a script. Uses the stream, because `console.log` does not report that the reader has gone (`| head`). */

/** Prints a line. */
export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Resolves when everything printed so far has been read, or can no longer be. */
export function flushOutput(): Promise<void> {
  return new Promise((resolve) => process.stdout.write("", () => resolve()));
}
