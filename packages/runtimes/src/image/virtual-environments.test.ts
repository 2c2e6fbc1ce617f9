import { expect, test } from "bun:test";
import { chmodSync, copyFileSync } from "node:fs";
import { detectImage } from "../detect-image.ts";
import type { VirtualEnvironment } from "../image-report.ts";
import { spawnProbe } from "../probe/run-probe.ts";
import { makeElf, makeTestClock, makeTestImage, type TestImage } from "../test-image.ts";

/** The environments in `envs` of an image whose PATH is `bin`. */
async function environments(
  image: TestImage,
  onSpawn: (path: string) => void = () => {},
): Promise<VirtualEnvironment[]> {
  const report = await detectImage({
    env: { PATH: `${image.dir}/bin`, FLEET_RUNTIME_ENVS_DIR: `${image.dir}/envs/` },
    clock: makeTestClock(),
    pathOnly: true,
    spawn(command) {
      onSpawn(command.path);
      return spawnProbe(command);
    },
  });
  return [...report.environments];
}

/** An environment linked to `python`, with the given files in its site-packages. */
function addEnvironment(
  image: TestImage,
  name: string,
  python: string,
  options: { made?: string; files?: readonly string[]; cfg?: string } = {},
): void {
  const { made = "3.11", files = [], cfg = `home = ${image.dir}/bin\n` } = options;
  image.file(`envs/${name}/pyvenv.cfg`, cfg);
  image.link(`envs/${name}/bin/python`, "python3");
  image.link(`envs/${name}/bin/python3`, python);
  for (const file of ["pip/__init__.py", ...files])
    image.file(`envs/${name}/lib/python${made}/site-packages/${file}`, "");
}

test("A9: an environment whose interpreter works here is usable, with that interpreter's version", async () => {
  using image = makeTestImage();
  const python = image.script("bin/python3", "echo Python 3.11.2");
  addEnvironment(image, "good", python);
  image.file("envs/no-env/readme", "");
  expect(await environments(image)).toEqual([
    {
      name: "good",
      path: `${image.dir}/envs/good`,
      verdict: "ok",
      kind: "venv",
      interpreter: `${image.dir}/envs/good/bin/python3`,
      real_path: python,
      version: "3.11.2",
      semver: "3.11.2",
      reason: null,
      note: null,
    },
  ]);
});

test("A9: environments that share an interpreter run it once", async () => {
  using image = makeTestImage();
  const python = image.script("opt/python3.11", "echo Python 3.11.2");
  for (const name of ["a", "b", "c"]) addEnvironment(image, name, python);
  const started: string[] = [];
  const found = await environments(image, (path) => started.push(path));
  expect(found.map(({ verdict }) => verdict)).toEqual(["ok", "ok", "ok"]);
  expect(started).toEqual([`${image.dir}/envs/a/bin/python3`]);
});

/** Each kind of broken environment: how to create it, and the expected reason. */
const BROKEN: readonly (readonly [
  what: string,
  make: (image: TestImage) => void,
  reason: string,
])[] = [
  [
    "whose interpreter is missing",
    (image) => {
      addEnvironment(image, "env", "/nowhere/bin/python3.9", { cfg: "home = /nowhere/bin\n" });
    },
    "its bin/python3 links to /nowhere/bin/python3.9, which does not exist (it was created by the python in /nowhere/bin)",
  ],
  [
    "that is empty",
    (image) => {
      image.file("envs/env/pyvenv.cfg", "");
    },
    "has no bin/python3 or bin/python",
  ],
  [
    "whose pyvenv.cfg is a directory",
    (image) => {
      image.directory("envs/env/pyvenv.cfg");
    },
    "its pyvenv.cfg can't be read",
  ],
  [
    "created for another machine",
    (image) => {
      image.file("envs/env/pyvenv.cfg", "home = /usr/bin\n");
      image.file("envs/env/bin/python3", makeElf({ machine: 22, bigEndian: true }), 0o755);
    },
    "its bin/python3 is a program for s390x, but this machine is ",
  ],
  [
    "created for another C library",
    (image) => {
      image.file("envs/env/pyvenv.cfg", "home = /usr/bin\n");
      const machine = process.arch === "arm64" ? 183 : 62;
      const loader = "/nowhere/ld-musl-x.so.1";
      image.file("envs/env/bin/python3", makeElf({ machine, loader }), 0o755);
    },
    "its bin/python3 needs the loader /nowhere/ld-musl-x.so.1, which is not in this image",
  ],
  [
    "created for another version",
    (image) => addEnvironment(image, "env", image.script("bin/python3.12", "echo Python 3.12.4")),
    "was created for python 3.11 (lib/python3.11/site-packages), but its python is 3.12.4 here",
  ],
  [
    "whose interpreter fails",
    (image) => addEnvironment(image, "env", image.script("bin/python3", "echo sorry >&2; exit 3")),
    "its bin/python3 exited with 3 when asked for its version: sorry",
  ],
  [
    "with a module compiled for another version",
    (image) => {
      const python = image.script("bin/python3", "echo Python 3.11.2");
      const files = ["radar/core/_dsp.cpython-312-x86_64-linux-gnu.so"];
      addEnvironment(image, "env", python, { files });
    },
    "has lib/python3.11/site-packages/radar/core/_dsp.cpython-312-x86_64-linux-gnu.so, which is for python 3.12, but its python is 3.11 here",
  ],
  [
    "of conda without a python",
    (image) => {
      image.file("envs/env/conda-meta/history", "");
    },
    "is a conda environment without a python: it has no bin/python3 or bin/python",
  ],
];

test.each(BROKEN)("A9: an environment %s is broken, with that reason", async (_, make, reason) => {
  using image = makeTestImage();
  image.directory("envs");
  make(image);
  const [found, ...others] = await environments(image);
  expect(others).toEqual([]);
  expect(found).toMatchObject({ name: "env", verdict: "broken", interpreter: null });
  expect(found?.reason).toStartWith(reason);
});

test("A9: a loop of links is reported", async () => {
  using image = makeTestImage();
  image.file("envs/env/pyvenv.cfg", "");
  image.link("envs/env/bin/python3", "python");
  image.link("envs/env/bin/python", "python3");
  expect((await environments(image))[0]?.reason).toBe(
    "its bin/python3 is a loop of symbolic links",
  );
});

test("A9: a copied interpreter needs the python it was copied from", async () => {
  using image = makeTestImage();
  const make = (name: string, home: string): void => {
    image.file(`envs/${name}/pyvenv.cfg`, `home = ${home}\n`);
    image.script(`envs/${name}/bin/python3`, "echo Python 3.11.2");
  };
  make("lost", "/nowhere/bin");
  make("kept", "/usr/bin");
  const [kept, lost] = await environments(image);
  expect(kept?.verdict).toBe("ok");
  expect(lost?.reason).toBe(
    "has a copy of the python in /nowhere/bin (home in pyvenv.cfg), but that directory and its library do not exist here",
  );
});

test("A9: a missing home directory of a working environment is a note, not an error", async () => {
  using image = makeTestImage();
  const python = image.script("bin/python3", "echo Python 3.11.2");
  const cfg = "home = /nowhere/bin\ninclude-system-site-packages = true\n";
  addEnvironment(image, "env", python, { cfg });
  expect(await environments(image)).toMatchObject([
    {
      verdict: "ok",
      note: `was created by the python in /nowhere/bin, which does not exist here; it uses ${python}`,
    },
  ]);
});

test("A9: a conda environment is reported too", async () => {
  using image = makeTestImage();
  image.file("envs/radar/conda-meta/history", "");
  image.script("envs/radar/bin/python3.12", "echo Python 3.12.1");
  image.link("envs/radar/bin/python3", "python3.12");
  expect(await environments(image)).toMatchObject([
    { name: "radar", kind: "conda", verdict: "ok", version: "3.12.1" },
  ]);
});

const GLIBC_ELF = process.arch === "x64" && (await Bun.file("/usr/bin/env").exists());

test.skipIf(!GLIBC_ELF)(
  "A9: compiled modules must match the machine and the C library, unless a compatible build lies beside them",
  async () => {
    using image = makeTestImage();
    // Any program of this machine can stand for a python here.
    const python = `${image.dir}/python3`;
    copyFileSync("/usr/bin/env", python);
    chmodSync(python, 0o755);
    const make = (name: string, ...files: string[]): void =>
      addEnvironment(image, name, python, { made: "3.12", files });
    make("arm", "a/_x.cpython-312-aarch64-linux-gnu.so");
    make("both", "_x.cpython-312-aarch64-linux-gnu.so", "_x.cpython-312-x86_64-linux-gnu.so");
    make("musl", "_x.cpython-312-x86_64-linux-musl.so");
    make("plain", "_x.abi3.so", "attach_linux_amd64.so", "lib_x.so.1");
    const report = await detectImage({
      env: { PATH: `${image.dir}/bin`, FLEET_RUNTIME_ENVS_DIR: `${image.dir}/envs` },
      clock: makeTestClock(),
      pathOnly: true,
      spawn: (command) => spawnProbe({ ...command, path: "/bin/echo", args: ["Python", "3.12.4"] }),
    });
    expect(report.environments.map(({ name, reason }) => [name, reason])).toEqual([
      [
        "arm",
        "has lib/python3.12/site-packages/a/_x.cpython-312-aarch64-linux-gnu.so, which is for aarch64, but its python is for x86_64 here",
      ],
      ["both", null],
      [
        "musl",
        "has lib/python3.12/site-packages/_x.cpython-312-x86_64-linux-musl.so, which is for musl, but its python is for glibc here",
      ],
      ["plain", null],
    ]);
  },
);
