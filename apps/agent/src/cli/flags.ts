/** Checks the words of a command line, because citty accepts unknown ones. No I/O. (A8) */
import type { ArgsDef } from "citty";

/** The first problem of `words`: an unknown flag or argument, or a missing or excess value. */
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
    const text = value ?? words[++i];
    if (text === undefined || text === "" || (value === undefined && text.startsWith("-")))
      return `--${name} requires a value`;
  }
  return undefined;
}

/** Whether `word` is the one-letter form of a flag without value. */
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
