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

test("A7: a verdict is explained step by step: the directories searched, each file, the command run and its output", async () => {
  using image = makeTestImage();
  image.link("bin/python3", "/nowhere/python3.9");
  image.directory("bin2");
  image.script("bin2/python3", "echo Python 3.11.2");
  expect(await why(image, "py")).toBe(
    [
      "python: works: cpython 3.11.2 at /bin2/python3",
      "",
      "  search  for python3, python, pypy3 in /bin:/bin2",
      "  file    /bin/python3  links to /nowhere/python3.9, which does not exist",
      "  file    /bin2/python3  script",
      "  run     /bin2/python3  /bin2/python3 --version (0 ms) exited with 0, printed: Python 3.11.2",
      String.raw`  answer  /bin2/python3  matches ^Python (\d\S*)`,
      "  verdict /bin2/python3  works: cpython 3.11.2",
      "",
    ].join("\n"),
  );
});

test("A7: a broken interpreter is explained by its exit code and output", async () => {
  using image = makeTestImage();
  image.script("bin/node", "echo 'no such engine' >&2; exit 3");
  const text = await why(image, "nodejs");
  expect(text).toStartWith("node: does not work: the only candidate was rejected\n");
  expect(text).toContain(
    "/bin/node --version (0 ms) exited with 3 when asked for its version: no such engine",
  );
});

test("A7: for an absent interpreter, the directories searched are listed", async () => {
  using image = makeTestImage();
  image.directory("bin");
  expect(await why(image, "golang")).toBe(
    ["go: not found in this image", "", "  search  for go in /bin", "  verdict not found", ""].join(
      "\n",
    ),
  );
});

test("A6, A7: native is explained as never detected", async () => {
  using image = makeTestImage();
  expect(await why(image, "native")).toContain("never detected, only named");
});

test.each([
  ["pyton", "did you mean python"],
  ["pyt", "did you mean python, python3"],
  ["cobol", "Fleet knows shell, python, node"],
])("A7: the answer to the unknown name %s contains: %s …", async (name, hint) => {
  using image = makeTestImage();
  expect(await why(image, name)).toStartWith(`unknown: no runtime is called "${name}"; ${hint}`);
});
