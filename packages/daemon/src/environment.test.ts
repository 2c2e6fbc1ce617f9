import { expect, test } from "bun:test";
import { revealEnvironment } from "./environment.ts";

test("hidden variables get their own names back, in either case (A10)", () => {
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

test("a variable that stands under its own name is not overridden by a hidden one", () => {
  expect(revealEnvironment({ "\x0cD_PRELOAD": "hidden", LD_PRELOAD: "own" })).toEqual({
    LD_PRELOAD: "own",
  });
});
