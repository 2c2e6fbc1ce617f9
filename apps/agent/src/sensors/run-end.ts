/** How a run of a sensor ended, in words. Pure. */

/** What is known of an end: a code, a signal, or neither when somebody else reaped the process. `ranMs` from its start. */
export interface RunEndFacts {
  readonly code: number | undefined;
  readonly signal: string | undefined;
  readonly ranMs: number;
}

/** `exited with code 1 after 0.3 s`, `was ended by SIGKILL after 12.0 s`. */
export function howItEnded({ code, signal, ranMs }: RunEndFacts): string {
  const after = `after ${(ranMs / 1000).toFixed(1)} s`;
  if (signal !== undefined) return `was ended by ${signal} ${after}`;
  if (code !== undefined) return `exited with code ${code} ${after}`;
  return `ended ${after}, nobody knows how`;
}
