/** How `fleet-agent` ends, beside 0 and 128 + n after a signal. (A8) */

/** The command line was wrong. */
export const EXIT_USAGE = 64;
/** A newer process speaks for this node. */
export const EXIT_SUPERSEDED = 69;
/** The config, a variable or a directory named in them can't be used. */
export const EXIT_CONFIG = 78;
