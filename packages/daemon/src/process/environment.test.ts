import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { revealEnvironment } from "./environment.ts";

test("hidden variables get their real names back, in either case (A10)", () => {
  expect(
    revealEnvironment({
      "\x0cD_PRELOAD": "a.so",
      "\x02UN_BE_BUN": "1",
      "\x08TTP_PROXY": "http://p",
      "\x08ttp_proxy": "http://q",
      "\x07LIBC_TUNABLES": "x",
      PATH: "/bin",
    }),
  ).toEqual({
    LD_PRELOAD: "a.so",
    BUN_BE_BUN: "1",
    HTTP_PROXY: "http://p",
    http_proxy: "http://q",
    GLIBC_TUNABLES: "x",
    PATH: "/bin",
  });
});

test("a hidden variable does not override one that is set under its real name", () => {
  expect(revealEnvironment({ "\x0cD_PRELOAD": "hidden", LD_PRELOAD: "own" })).toEqual({
    LD_PRELOAD: "own",
  });
});

describe("every name that the stub hides is restored", () => {
  const source = readFileSync(
    join(import.meta.dirname, "../../../static-elf/loader/hidden.h"),
    "utf8",
  );
  const prefixes = [...source.matchAll(/^ {4}"(\w+)=?\\0"/gm)].map(([, prefix]) => prefix!);

  /** Like `hide_environment` in hidden.h. */
  const hide = (name: string): string =>
    String.fromCharCode(name.charCodeAt(0) & 0x1f) + name.slice(1);

  test("the list is read", () => {
    for (const known of ["LD_", "GLIBC_TUNABLES", "BUN_", "JSC_", "WebKit", "Malloc", "TCC_"])
      expect(prefixes).toContain(known);
  });

  test.each(prefixes.flatMap((p) => [p, `${p}x`, `${p}X_y`, `${p}X_PROXY`]))("%s", (name) => {
    expect(revealEnvironment({ [hide(name)]: "v" })).toEqual({ [name]: "v" });
  });

  test.each(["HTTP_PROXY", "ALL_PROXY", "A_PROXY", "x1_proxy", "https_proxy", "no_proxy"])(
    "%s",
    (name) => {
      expect(revealEnvironment({ [hide(name)]: "v" })).toEqual({ [name]: "v" });
    },
  );
});

test("names that only look hidden stay unchanged", () => {
  const env = { "": "a", "\x01": "b", "\x1bX": "c", _: "d" };
  expect(revealEnvironment(env)).toEqual(env);
});
