/** Reads enrolment tokens from their sources. Files are read at each use, because secrets are rotated in place. (H5) */
import { readFileSync } from "node:fs";
import type { Log, LogLimiter } from "@fleet/daemon";

/** A token, or the file that contains it. */
export type TokenSource =
  | { readonly at: "value"; readonly token: string }
  | { readonly at: "file"; readonly path: string };

const TOKEN_LENGTH_MAX = 4096;

/** Whether `text` can be sent in an Authorization header. */
export function isToken(text: string): boolean {
  return text.length <= TOKEN_LENGTH_MAX && /^[\x21-\x7e]+$/.test(text);
}

/** The tokens available now, in order. A file without one is logged, limited by `complaints`. */
export function readEnrollTokens(
  sources: readonly TokenSource[],
  log: Log,
  complaints: LogLimiter,
): string[] {
  return sources.flatMap((source) => {
    if (source.at === "value") return [source.token];
    try {
      const token = readFileSync(source.path, "utf8").trim();
      if (isToken(token)) return [token];
      complain(`${source.path} does not contain a token`);
    } catch (error) {
      complain(
        `${source.path} can't be read: ${(error as NodeJS.ErrnoException).code ?? String(error)}`,
      );
    }
    return [];
  });

  function complain(message: string): void {
    if (complaints.pass(message) !== undefined) log.warn({}, message);
  }
}
