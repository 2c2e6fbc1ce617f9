import { expect, test } from "bun:test";
import { detectImage } from "../detect-image.ts";
import type { InterpreterReport } from "../image-report.ts";
import { spawnProbe } from "./run-probe.ts";
import { makeTestClock, makeTestImage, type TestImage } from "../test-image.ts";

/** Detects one runtime in an image whose PATH is `shims:bin`; `started` lists the programs that were run. */
async function detect(
  image: TestImage,
  name: string,
  env: Readonly<Record<string, string>> = {},
): Promise<{ report: InterpreterReport | undefined; started: string[] }> {
  const started: string[] = [];
  const { interpreters } = await detectImage({
    env: { PATH: `${image.dir}/shims:${image.dir}/bin`, ...env },
    clock: makeTestClock(),
    pathOnly: true,
    spawn(command) {
      started.push(command.path.slice(image.dir.length));
      return spawnProbe(command);
    },
  });
  return { report: interpreters.find((interpreter) => interpreter.name === name), started };
}

/** A shim as pyenv and similar managers write it. */
function envShim(image: TestImage, manager: string, program: string): string {
  const root = `${image.dir}/${manager}`;
  const path = image.file(
    `shims/${program}`,
    [
      "#!/usr/bin/env bash",
      "set -e",
      'program="${0##*/}"',
      `export ${manager.toUpperCase()}_ROOT="${root}"`,
      `exec "${root}/libexec/${manager}" exec "$program" "$@"`,
      "",
    ].join("\n"),
    0o755,
  );
  return path;
}

function python(image: TestImage, path: string, version: string): string {
  return image.script(path, `echo Python ${version}`);
}

test("A4: a pyenv shim resolves to the version its global file selects, and is never run", async () => {
  using image = makeTestImage();
  const shim = envShim(image, "pyenv", "python3");
  python(image, "pyenv/versions/3.11.7/bin/python3", "3.11.7");
  python(image, "pyenv/versions/3.12.1/bin/python3", "3.12.1");
  python(image, "bin/python3", "3.9.2");
  image.file("pyenv/version", "3.11.7\n");
  const { report, started } = await detect(image, "python");
  expect(report).toMatchObject({
    verdict: "ok",
    version: "3.11.7",
    path: `${image.dir}/pyenv/versions/3.11.7/bin/python3`,
    via: `pyenv shim ${shim}`,
    also: [{ version: "3.9.2" }],
    rejected: [],
  });
  expect(started).toEqual(["/pyenv/versions/3.11.7/bin/python3", "/bin/python3"]);
});

test("A4: the image's PYENV_VERSION overrides the file, a version prefix selects the newest, the first installed one wins", async () => {
  using image = makeTestImage();
  envShim(image, "pyenv", "python3");
  for (const version of ["3.11.7", "3.12.1", "3.12.10"])
    python(image, `pyenv/versions/${version}/bin/python3`, version);
  image.file("pyenv/version", "3.11.7\n");
  const versionFor = async (wanted: string): Promise<unknown> => {
    const { report } = await detect(image, "python", { PYENV_VERSION: wanted });
    return report?.verdict === "ok" ? report.version : report?.rejected[0]?.reason;
  };
  expect(await versionFor("3.12.1")).toBe("3.12.1");
  expect(await versionFor("3.12")).toBe("3.12.10");
  expect(await versionFor("python-3.12.1")).toBe("3.12.1");
  expect(await versionFor("3.8.0:3.11.7")).toBe("3.11.7");
  expect(await versionFor("../../bin")).toBe("3.11.7");
});

test("A4: a shim whose version is not installed is rejected, naming the version and the file that selects it", async () => {
  using image = makeTestImage();
  const shim = envShim(image, "rbenv", "ruby");
  image.file("rbenv/version", "3.2.0\n");
  image.script("bin/ruby", "echo ruby 3.1.2p20");
  const { report, started } = await detect(image, "ruby");
  expect(started).toEqual(["/bin/ruby"]);
  expect(report).toMatchObject({
    verdict: "ok",
    path: `${image.dir}/bin/ruby`,
    via: null,
    rejected: [
      {
        path: shim,
        code: "shim_unresolved",
        reason: `is a rbenv shim ${shim}: ${image.dir}/rbenv/version selects 3.2.0, which rbenv has not installed`,
      },
    ],
  });
});

test("A4: a shim that defers to the system is skipped", async () => {
  using image = makeTestImage();
  envShim(image, "nodenv", "node");
  image.script("bin/node", "echo v20.1.0");
  for (const set of [true, false]) {
    if (set) image.file("nodenv/version", "system\n");
    const { report } = await detect(image, "node");
    expect(report).toMatchObject({ path: `${image.dir}/bin/node`, rejected: [] });
  }
});

test("A4: an asdf shim resolves to the version that the image's variable or the .tool-versions in the home directory selects", async () => {
  using image = makeTestImage();
  const shim = image.file(
    "shims/node",
    '#!/usr/bin/env bash\n# asdf-plugin: nodejs 20.1.0\nexec asdf exec "node" "$@"\n',
    0o755,
  );
  for (const version of ["20.1.0", "18.2.0"])
    image.script(`installs/nodejs/${version}/bin/node`, `echo v${version}`);
  const { report } = await detect(image, "node", { ASDF_NODEJS_VERSION: "18.2.0" });
  expect(report).toMatchObject({ version: "18.2.0", via: `asdf shim ${shim}` });
  expect((await detect(image, "node")).report).toMatchObject({
    verdict: "broken",
    rejected: [
      {
        code: "shim_unresolved",
        reason: expect.stringContaining("no .tool-versions selects a version of nodejs") as string,
      },
    ],
  });
  image.file("home/.tool-versions", "# mine\nruby 3.1.0\nnodejs 22.0.0 20.1.0 # either\n");
  const home = { PATH: `${image.dir}/shims`, HOME: `${image.dir}/home` };
  const { interpreters } = await detectImage({ env: home, clock: makeTestClock() });
  expect(interpreters.find(({ name }) => name === "node")).toMatchObject({ version: "20.1.0" });
});

test("A4: a volta shim resolves to the version in platform.json", async () => {
  using image = makeTestImage();
  image.script("shims/volta-shim", "exit 126");
  const shim = image.link("shims/node", "volta-shim");
  image.script("tools/image/node/20.3.1/bin/node", "echo v20.3.1");
  const platform = '{"node":{"runtime":"20.3.1","npm":null},"pnpm":null}';
  image.file("tools/user/platform.json", platform);
  expect((await detect(image, "node")).report).toMatchObject({
    version: "20.3.1",
    via: `volta shim ${shim}`,
    rejected: [],
  });
  image.file("tools/user/platform.json", platform.replace("20.3.1", "22.0.0"));
  expect((await detect(image, "node")).report?.rejected[0]?.reason).toEndWith(
    "tools/user/platform.json selects 22.0.0, which volta has not installed",
  );
});

test("A4: a mise shim resolves to the version in its config", async () => {
  using image = makeTestImage();
  image.script("opt/mise", "exit 126");
  const shim = image.link("shims/python3", "../opt/mise");
  python(image, "installs/python/3.11.9/bin/python3", "3.11.9");
  image.file("config/config.toml", '[tools]\npython = ["3.12", "3.11"]\n');
  const env = { MISE_CONFIG_DIR: `${image.dir}/config` };
  expect((await detect(image, "python", env)).report).toMatchObject({
    version: "3.11.9",
    via: `mise shim ${shim}`,
  });
  image.file("config/config.toml", "[tools\n");
  expect((await detect(image, "python", env)).report?.rejected[0]?.reason).toContain(
    "no configuration of mise selects a version of python",
  );
});

test("A4: a wrapper script is reported as one, with the program it starts", async () => {
  using image = makeTestImage();
  const real = python(image, "opt/python3.11", "3.11.2");
  const wrapper = image.script("bin/python3", `export X=1\nexec "${real}" "$@"`);
  expect((await detect(image, "python")).report).toMatchObject({
    verdict: "ok",
    path: wrapper,
    via: `wrapper ${wrapper}`,
    note: `is a script that starts ${real}`,
    version: "3.11.2",
  });
});
