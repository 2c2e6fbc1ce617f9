/** The demo's output. By the stream and not by `console.log`, which never tells that the reader has gone (`| head`). */

/** Prints a line. */
export function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Settles when all that was printed has been taken, or can't be any more. */
export function allSaid(): Promise<void> {
  return new Promise((resolve) => process.stdout.write("", () => resolve()));
}
