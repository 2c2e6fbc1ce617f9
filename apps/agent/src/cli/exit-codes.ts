/** How `fleet-agent` ends, beside 0 and 128 + n after a signal. (A8) */

/** The command line was wrong. */
export const EXIT_USAGE = 64;
/** Another process speaks for this node. */
export const EXIT_SUPERSEDED = 69;
/** Another agent has the state directory: try again when it has ended. */
export const EXIT_IN_USE = 75;
/** The config, a variable or a directory named in them can't be used. */
export const EXIT_CONFIG = 78;
