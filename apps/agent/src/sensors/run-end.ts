/** Describes how a run of a sensor ended. Pure. */

/** A code, a signal, or neither if the process was reaped elsewhere. `ranMs` counts from its start. */
export interface RunEndFacts {
  readonly code: number | undefined;
  readonly signal: string | undefined;
  readonly ranMs: number;
}

/** `exited with code 1 after 0.3 s`, `was killed by SIGKILL after 12.0 s`. */
export function describeRunEnd({ code, signal, ranMs }: RunEndFacts): string {
  const after = `after ${(ranMs / 1000).toFixed(1)} s`;
  if (signal !== undefined) return `was killed by ${signal} ${after}`;
  if (code !== undefined) return `exited with code ${code} ${after}`;
  return `ended ${after} with an unknown status`;
}
