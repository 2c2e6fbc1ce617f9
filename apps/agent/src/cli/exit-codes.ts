/** The exit codes of `fleet-agent`, besides 0, and 128 + n after signal n. (A8) */

/** The command line is not valid. */
export const EXIT_USAGE = 64;
/** Another process speaks for this node. */
export const EXIT_SUPERSEDED = 69;
/** Another agent is using the state directory; it can be tried again once that has ended. */
export const EXIT_IN_USE = 75;
/** The config, a variable or a directory named in them can't be used. */
export const EXIT_CONFIG = 78;
