/** Recognises our trackers by their command line, for those that a killed coordinator had no time to record. (T5) */
import { basename } from "node:path";

/**
 * Whether `argv` is `template` filled in for some stream and a port that `isOurs`. Both are compared from the end, so that an
 * interpreter before a script, or a wrapper such as env(1) that has replaced itself, makes no difference.
 */
export function isTracker(
  argv: readonly string[],
  template: readonly string[],
  isOurs: (port: number) => boolean,
): boolean {
  // A single word proves too little.
  if (argv.length < 2) return false;
  const length = Math.min(argv.length, template.length);
  let ports = 0;
  for (let back = 1; back <= length; back++) {
    const [arg, part] = [argv.at(-back)!, template.at(-back)!];
    // The program may be found by another path.
    if ((back === argv.length || back === template.length) && basename(arg) === basename(part))
      continue;
    const port = portIn(arg, part);
    if (port === undefined || (port !== null && !isOurs(port))) return false;
    if (port !== null) ports++;
  }
  return ports > 0;
}

/** The port in `arg` at the placeholder of `part`; null when `part` has no such placeholder; undefined when they do not match. */
function portIn(arg: string, part: string): number | null | undefined {
  const pattern = part
    .split(/(\{port\}|\{stream\})/)
    .map((piece) =>
      piece === "{port}"
        ? "(\\d{1,5})"
        : piece === "{stream}"
          ? "[A-Za-z0-9_.-]+"
          : RegExp.escape(piece),
    )
    .join("");
  const found = new RegExp(`^${pattern}$`).exec(arg);
  if (found === null) return undefined;
  return found[1] === undefined ? null : Number(found[1]);
}
