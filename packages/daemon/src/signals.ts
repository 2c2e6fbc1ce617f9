/** Turns process signals into one orderly stop, and a second one into an immediate exit. */

const EXIT_BASE = 128;
const SIGNAL_NUMBERS = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGTERM: 15 } as const;

/** The signals that ask a daemon to stop. */
export type StopSignal = "SIGINT" | "SIGTERM";

/** The exit status shells and init systems expect of a process that ended because of `signal`. (A8) */
export function exitCodeOf(signal: keyof typeof SIGNAL_NUMBERS): number {
  return EXIT_BASE + SIGNAL_NUMBERS[signal];
}

/** Calls `onStop` at the first SIGINT or SIGTERM; a later one ends the process at once with 128 + n. */
export function onStopSignals(onStop: (signal: StopSignal) => void): void {
  let asked = false;
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      if (asked) process.exit(exitCodeOf(signal));
      asked = true;
      onStop(signal);
    });
  }
}
