/** What is wrong with the words of a command line, since citty takes anything. No I/O. (A8) */
import type { ArgsDef } from "citty";

/** The first thing wrong with `words`: a flag or argument nobody knows, a value too many or missing. */
export function problemOf(words: readonly string[], defs: ArgsDef): string | undefined {
  let positionalsLeft = Object.values(defs).filter(({ type }) => type === "positional").length;
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    if (isShort(word, defs)) continue;
    if (!word.startsWith("--")) {
      if (word !== "" && !word.startsWith("-") && positionalsLeft-- > 0) continue;
      return `unknown argument: ${word}`;
    }
    const [name, value] = splitFlag(word);
    const def = Object.hasOwn(defs, name) ? defs[name] : undefined;
    if (def === undefined || def.type === "positional") return `unknown flag: --${name}`;
    if (def.type === "boolean") {
      if (value !== undefined) return `--${name} takes no value`;
      continue;
    }
    const given = value ?? words[++i];
    if (given === undefined || given === "" || (value === undefined && given.startsWith("-")))
      return `--${name} needs a value`;
  }
  return undefined;
}

/** The one-letter form of a flag that takes no value. */
function isShort(word: string, defs: ArgsDef): boolean {
  return Object.values(defs).some(
    (def) =>
      def.type === "boolean" && def.alias !== undefined && word === `-${def.alias.toString()}`,
  );
}

function splitFlag(word: string): [name: string, value: string | undefined] {
  const equals = word.indexOf("=");
  return equals < 0 ? [word.slice(2), undefined] : [word.slice(2, equals), word.slice(equals + 1)];
}
