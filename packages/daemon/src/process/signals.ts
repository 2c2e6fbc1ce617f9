/** Turns the first stop signal into an orderly stop, and a second one into an immediate exit. */

const EXIT_BASE = 128;
const SIGNAL_NUMBERS = { SIGINT: 2, SIGQUIT: 3, SIGTERM: 15 } as const;

/** The signals that stop a daemon. The init translates other stop signals of an image (packages/static-elf/loader/init.h). */
export type StopSignal = keyof typeof SIGNAL_NUMBERS;

/** The exit status that shells and init systems expect of a process stopped by `signal`: 128 + n. (A8, A12) */
export function exitCodeOf(signal: StopSignal): number {
  return EXIT_BASE + SIGNAL_NUMBERS[signal];
}

/** Calls `onStop` at the first SIGINT, SIGQUIT or SIGTERM; a later one exits immediately with 128 + n. */
export function onStopSignals(onStop: (signal: StopSignal) => void): void {
  let isStopping = false;
  for (const signal of ["SIGINT", "SIGQUIT", "SIGTERM"] as const) {
    process.on(signal, () => {
      if (isStopping) process.exit(exitCodeOf(signal));
      isStopping = true;
      onStop(signal);
    });
  }
}
