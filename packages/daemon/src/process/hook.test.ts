import { expect, test } from "bun:test";
import { Hook } from "./hook.ts";

test("a hook calls its listeners in order, collects their answers, and forgets one that is removed", () => {
  const hook = new Hook<[number, string], string>();
  expect(hook.call(0, "nobody")).toEqual([]);
  const remove = hook.add((n, text) => `first ${n} ${text}`);
  hook.add((n) => `second ${n}`);
  expect(hook.call(1, "a")).toEqual(["first 1 a", "second 1"]);
  remove();
  remove();
  expect(hook.call(2, "b")).toEqual(["second 2"]);
});

test("a listener that removes itself keeps no other from being called", () => {
  const hook = new Hook<[]>();
  const calls: string[] = [];
  const remove = hook.add(() => {
    calls.push("once");
    remove();
  });
  hook.add(() => void calls.push("always"));
  hook.call();
  hook.call();
  expect(calls).toEqual(["once", "always", "always"]);
});
