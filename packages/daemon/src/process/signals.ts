/** Turns process signals into one orderly stop, and a second one into an immediate exit. */

const EXIT_BASE = 128;
const SIGNAL_NUMBERS = { SIGINT: 2, SIGQUIT: 3, SIGTERM: 15 } as const;

/** The signals that ask a daemon to stop. Images that ask by others are the init's matter (packages/static-elf/loader/init.h). */
export type StopSignal = keyof typeof SIGNAL_NUMBERS;

/** The exit status shells and init systems expect of a process that ended because of `signal`. (A8, A12) */
export function exitCodeOf(signal: StopSignal): number {
  return EXIT_BASE + SIGNAL_NUMBERS[signal];
}

/** Calls `onStop` at the first SIGINT, SIGQUIT or SIGTERM; a later one ends the process at once with 128 + n. */
export function onStopSignals(onStop: (signal: StopSignal) => void): void {
  let asked = false;
  for (const signal of ["SIGINT", "SIGQUIT", "SIGTERM"] as const) {
    process.on(signal, () => {
      if (asked) process.exit(exitCodeOf(signal));
      asked = true;
      onStop(signal);
    });
  }
}
