import { expect, test } from "bun:test";
import { canonicalRuntime } from "./canonical-runtime.ts";
import { INTERPRETERS } from "./probe/interpreters.ts";

test("common names mean the runtime they are known by", () => {
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

test("a name nobody knows is undefined", () => {
  for (const name of ["", "auto", "cobol", "python3.11", "constructor", "__proto__"]) {
    expect(canonicalRuntime(name)).toBeUndefined();
  }
});

test("the config's names come before the built-in aliases, but never take native", () => {
  const extra = [{ name: "pypy", aliases: ["pypy3", "native"] }];
  expect(canonicalRuntime("pypy", extra)).toBe("pypy");
  expect(canonicalRuntime("pypy3", extra)).toBe("pypy");
  expect(canonicalRuntime("python", extra)).toBe("python");
  expect(canonicalRuntime("native", extra)).toBe("native");
});

test("no name or alias in the table means two runtimes", () => {
  const names = INTERPRETERS.flatMap(({ name, aliases }) => [name, ...aliases]);
  expect(new Set(names).size).toBe(names.length);
  for (const name of names) expect(name).toBe(name.toLowerCase());
});
