import { expect, test } from "bun:test";
import { canonicalRuntime } from "./canonical-runtime.ts";
import { INTERPRETERS } from "./interpreters.ts";

test("common names map to their runtime", () => {
  const meant = {
    nodejs: "node",
    js: "node",
    python3: "python",
    rb: "ruby",
    golang: "go",
    sh: "shell",
    bash: "shell",
    rscript: "r",
    pwsh: "powershell",
    " Node ": "node",
    R: "r",
    native: "native",
  };
  for (const [name, canonical] of Object.entries(meant))
    expect(canonicalRuntime(name)).toBe(canonical);
});

test("an unknown name is undefined", () => {
  for (const name of ["", "auto", "cobol", "python3.11", "constructor", "__proto__"]) {
    expect(canonicalRuntime(name)).toBeUndefined();
  }
});

test("the config's names override the built-in aliases, but never native", () => {
  const extra = [{ name: "pypy", aliases: ["pypy3", "native"] }];
  expect(canonicalRuntime("pypy", extra)).toBe("pypy");
  expect(canonicalRuntime("pypy3", extra)).toBe("pypy");
  expect(canonicalRuntime("python", extra)).toBe("python");
  expect(canonicalRuntime("native", extra)).toBe("native");
});

test("no name or alias in the table is ambiguous", () => {
  const names = INTERPRETERS.flatMap(({ name, aliases }) => [name, ...aliases]);
  expect(new Set(names).size).toBe(names.length);
  for (const name of names) expect(name).toBe(name.toLowerCase());
});
