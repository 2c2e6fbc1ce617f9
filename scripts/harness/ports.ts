/** Finds out which loopback ports are free, before anything is started. */

const LOOPBACK = "127.0.0.1";
/** Bounds of the search for a free range. */
const RANGE_FROM = 31_000;
const RANGE_TO = 32_700;

/** A port to check, what it is for, and the flag that selects another one. */
export interface WantedPort {
  readonly port: number;
  readonly purpose: string;
  readonly flag: string;
}

/** Returns one line for each port that is not free. */
export function portProblems(wanted: readonly WantedPort[]): readonly string[] {
  return wanted.flatMap(({ port, purpose, flag }) => {
    const errno = tryPort(port);
    if (errno === undefined) return [];
    const why = errno === "EADDRINUSE" ? "is already in use" : `cannot be used (${errno})`;
    return [`Port ${port} (${purpose}) ${why}; choose another with ${flag} PORT.`];
  });
}

/**
 * Returns the first of `count` consecutive free ports at or above `from`, or undefined if there is no such range. Skips the
 * ports in `avoid`, which will be in use soon.
 */
export function freeRange(
  count: number,
  avoid: readonly number[],
  from: number = RANGE_FROM,
): number | undefined {
  for (let first = from; first + count <= RANGE_TO;) {
    const busy = firstBusy(first, count, avoid);
    if (busy === undefined) return first;
    first = busy + 1;
  }
  return undefined;
}

function firstBusy(first: number, count: number, avoid: readonly number[]): number | undefined {
  for (let port = first; port < first + count; port++)
    if (avoid.includes(port) || tryPort(port) !== undefined) return port;
  return undefined;
}

/** Listens for a moment. Returns the error's code if that fails. */
function tryPort(port: number): string | undefined {
  try {
    Bun.listen({ hostname: LOOPBACK, port, socket: { data() {} } }).stop(true);
    return undefined;
  } catch (error) {
    return String((error as { code?: unknown }).code);
  }
}
