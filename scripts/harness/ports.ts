/** Which ports of loopback can be listened on. Asked before anything is started. */

const LOOPBACK = "127.0.0.1";
/** Where a free range is looked for. */
const RANGE_FROM = 31_000;
const RANGE_TO = 32_700;

/** A port that is wanted: for what, and the flag that names another. */
export interface WantedPort {
  readonly port: number;
  readonly what: string;
  readonly flag: string;
}

/** One line for each of the ports that can't be listened on. */
export function portProblems(wanted: readonly WantedPort[]): readonly string[] {
  return wanted.flatMap(({ port, what, flag }) => {
    const errno = tryPort(port);
    if (errno === undefined) return [];
    const why = errno === "EADDRINUSE" ? "is taken" : `can't be used (${errno})`;
    return [`Port ${port} (${what}) ${why}; choose another with ${flag} PORT.`];
  });
}

/**
 * The first of `count` ports in a row that are all free, from `from` on, or undefined. `avoid` lists ports that will be taken
 * soon.
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

/** Listens for a moment; the error's name when that fails. */
function tryPort(port: number): string | undefined {
  try {
    Bun.listen({ hostname: LOOPBACK, port, socket: { data() {} } }).stop(true);
    return undefined;
  } catch (error) {
    return String((error as { code?: unknown }).code);
  }
}
