/** Whether a command line is that of a tracker of ours, for those that a killed coordinator had no time to write down. (T5) */
import { basename } from "node:path";

/**
 * Whether `argv` is what `template` makes for some stream and a port that `isOurs`. Interpreters that come in front of a
 * script, and wrappers such as env(1) that are gone when it runs, are passed over.
 */
export function isTracker(
  argv: readonly string[],
  template: readonly string[],
  isOurs: (port: number) => boolean,
): boolean {
  // A single word says too little.
  if (argv.length < 2) return false;
  const length = Math.min(argv.length, template.length);
  let ports = 0;
  for (let back = 1; back <= length; back++) {
    const [arg, part] = [argv.at(-back)!, template.at(-back)!];
    // How a program was found does not matter.
    if ((back === argv.length || back === template.length) && basename(arg) === basename(part))
      continue;
    const port = portIn(arg, part);
    if (port === undefined || (port !== null && !isOurs(port))) return false;
    if (port !== null) ports++;
  }
  return ports > 0;
}

/** The port that stands in `arg` where `part` has its place; null when it has none; undefined when they differ. */
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
