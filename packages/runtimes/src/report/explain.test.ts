import { expect, test } from "bun:test";
import { detectImage } from "../detect-image.ts";
import { explain } from "./explain.ts";
import { makeTestClock, makeTestImage, type TestImage } from "../test-image.ts";

async function why(image: TestImage, name: string): Promise<string> {
  const env = { PATH: `${image.dir}/bin:${image.dir}/bin2` };
  const report = await detectImage({ env, clock: makeTestClock(), pathOnly: true });
  const explanation = explain(report, name);
  return explanation.at === "explained"
    ? explanation.text.replaceAll(image.dir, "")
    : `unknown: ${explanation.message}`;
}

test("A7: a verdict is told step by step: where it was looked, each file, what was run and what that said", async () => {
  using image = makeTestImage();
  image.link("bin/python3", "/nowhere/python3.9");
  image.directory("bin2");
  image.script("bin2/python3", "echo Python 3.11.2");
  expect(await why(image, "py")).toBe(
    [
      "python: works: cpython 3.11.2 at /bin2/python3",
      "",
      "  search  looked for python3, python, pypy3 in /bin:/bin2",
      "  file    /bin/python3  links to /nowhere/python3.9, which is not here",
      "  file    /bin2/python3  script",
      "  run     /bin2/python3  /bin2/python3 --version (0 ms) exited with 0, said: Python 3.11.2",
      String.raw`  answer  /bin2/python3  matches ^Python (\d\S*)`,
      "  verdict /bin2/python3  works: cpython 3.11.2",
      "",
    ].join("\n"),
  );
});

test("A7: what does not work is told with its exit and its words", async () => {
  using image = makeTestImage();
  image.script("bin/node", "echo 'no such engine' >&2; exit 3");
  const text = await why(image, "nodejs");
  expect(text).toStartWith("node: does not work: the one candidate had to be passed over\n");
  expect(text).toContain(
    "/bin/node --version (0 ms) exited with 3 when asked for its version: no such engine",
  );
});

test("A7: for what is not here, it is told where it was looked for", async () => {
  using image = makeTestImage();
  image.directory("bin");
  expect(await why(image, "golang")).toBe(
    [
      "go: there is no trace of it in this image",
      "",
      "  search  looked for go in /bin",
      "  verdict no trace of it",
      "",
    ].join("\n"),
  );
});

test("A6, A7: native is said to be never detected", async () => {
  using image = makeTestImage();
  expect(await why(image, "native")).toContain("never detected, only named");
});

test.each([
  ["pyton", "did you mean python"],
  ["pyt", "did you mean python, python3"],
  ["cobol", "Fleet knows shell, python, node"],
])("A7: for the unknown name %s a person is told: %s …", async (name, hint) => {
  using image = makeTestImage();
  expect(await why(image, name)).toStartWith(`unknown: no runtime is called "${name}"; ${hint}`);
});
