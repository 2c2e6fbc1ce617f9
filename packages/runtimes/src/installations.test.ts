import { expect, test } from "bun:test";
import { detectImage } from "./detect-image.ts";
import { type Installation, INSTALLATIONS_ALSO_MAX } from "./image-report.ts";
import { spawnProbe } from "./probe/run-probe.ts";
import { makeElf, makeTestClock, makeTestImage, type TestImage } from "./test-image.ts";

const MINE = makeElf({ machine: process.arch === "arm64" ? 183 : 62 });

/**
 * All installations of a runtime in an image whose home directory is `home`, the chosen one first, and the programs that were
 * run. Programs of the image print `says(path)`; installations outside the image are left out.
 */
async function installations(
  image: TestImage,
  name: string,
  says: (path: string) => string = () => "",
): Promise<{ found: Partial<Installation>[]; started: string[] }> {
  const started: string[] = [];
  const report = await detectImage({
    env: { PATH: `${image.dir}/bin`, HOME: `${image.dir}/home` },
    clock: makeTestClock(),
    spawn(command) {
      if (!command.path.startsWith(image.dir)) throw new Error("not of this image");
      const path = command.path.slice(image.dir.length);
      started.push(path);
      return spawnProbe({ ...command, path: "/bin/echo", args: [says(path)] });
    },
  });
  const one = report.interpreters.find((interpreter) => interpreter.name === name);
  const all = one?.verdict === "ok" ? [one, ...one.also] : [];
  return {
    started: started.filter((path) => path.includes(name)),
    found: all
      .filter(({ path }) => path.startsWith(image.dir))
      .map(({ path, version, implementation, vendor, kind, probe_ms }) => ({
        path: path.slice(image.dir.length),
        version,
        implementation,
        vendor,
        kind,
        probe_ms,
      })),
  };
}

test("A4: installations of version managers are identified by their files and not run", async () => {
  using image = makeTestImage();
  image.file("bin/python3", MINE, 0o755);
  for (const version of ["3.9.18", "3.12.1"]) {
    const short = version.replace(/\.\d+$/, "");
    const dir = `home/.pyenv/versions/${version}`;
    image.file(`${dir}/bin/python${short}`, MINE, 0o755);
    image.link(`${dir}/bin/python3`, `python${short}`);
    image.link(`${dir}/bin/python`, `python3`);
    image.file(`${dir}/include/python${short}/patchlevel.h`, `#define PY_VERSION "${version}"\n`);
  }
  const { found, started } = await installations(image, "python", () => "Python 3.11.2");
  const cpython = { implementation: "cpython", vendor: null, kind: null };
  expect(found).toEqual([
    { ...cpython, path: "/bin/python3", version: "3.11.2", probe_ms: 0 },
    {
      ...cpython,
      path: "/home/.pyenv/versions/3.12.1/bin/python3",
      version: "3.12.1",
      probe_ms: null,
    },
    {
      ...cpython,
      path: "/home/.pyenv/versions/3.9.18/bin/python3",
      version: "3.9.18",
      probe_ms: null,
    },
  ]);
  expect(started).toEqual(["/bin/python3"]);
});

test("A4: when nothing on PATH works, an installation elsewhere is chosen only after it was run", async () => {
  using image = makeTestImage();
  for (const version of ["v18.1.0", "v20.2.0"]) {
    const dir = `home/.nvm/versions/node/${version}`;
    const [major, minor, patch] = version.slice(1).split(".");
    image.file(`${dir}/bin/node`, MINE, 0o755);
    image.file(
      `${dir}/include/node/node_version.h`,
      `#define NODE_MAJOR_VERSION ${major}\n#define NODE_MINOR_VERSION ${minor}\n#define NODE_PATCH_VERSION ${patch}\n`,
    );
  }
  image.file("bin/node", "no program", 0o755);
  // The newest one does not work, although its files state a version.
  const says = (path: string): string => (path.includes("v20") ? "Illegal instruction" : "v18.1.0");
  const { found, started } = await installations(image, "node", says);
  expect(started.toSorted()).toEqual([
    "/home/.nvm/versions/node/v18.1.0/bin/node",
    "/home/.nvm/versions/node/v20.2.0/bin/node",
  ]);
  expect(found).toMatchObject([{ version: "18.1.0", probe_ms: 0 }]);
});

test("A4, A7: a Java with a compiler is a JDK, and its vendor is reported", async () => {
  using image = makeTestImage();
  const release = (vendor: string, version: string): string =>
    `IMPLEMENTOR="${vendor}"\nJAVA_VERSION="${version}"\nJAVA_RUNTIME_VERSION="${version}+9"\n`;
  image.link("bin/java", "../opt/jre/bin/java");
  image.file("opt/jre/bin/java", MINE, 0o755);
  image.file("opt/jre/release", release("Debian", "17.0.15"));
  const candidate = "home/.sdkman/candidates/java";
  image.file(`${candidate}/21.0.3-tem/bin/java`, MINE, 0o755);
  image.file(`${candidate}/21.0.3-tem/bin/javac`, MINE, 0o755);
  image.file(`${candidate}/21.0.3-tem/release`, release("Eclipse Adoptium", "21.0.3"));
  image.link(`${candidate}/current`, "21.0.3-tem");
  const { found, started } = await installations(
    image,
    "java",
    () => 'openjdk version "17.0.15" 2025-04-15',
  );
  expect(found).toMatchObject([
    { version: "17.0.15", kind: "jre", vendor: "Debian", implementation: "openjdk", probe_ms: 0 },
    { version: "21.0.3", kind: "jdk", vendor: "Eclipse Adoptium", probe_ms: null },
  ]);
  expect(started).toEqual(["/bin/java"]);
});

test("A4: the vendor of a Java without a release file is taken from its output", async () => {
  using image = makeTestImage();
  image.file("bin/java", MINE, 0o755);
  const banner =
    'openjdk version "1.8.0_392"\nOpenJDK Runtime Environment (Zulu 8.74.0.17-CA-linux64) (build 1.8.0_392-b08)';
  const { found } = await installations(image, "java", () => banner);
  expect(found[0]).toMatchObject({ version: "1.8.0_392", vendor: "Azul Systems, Inc." });
});

test("A4, A7: .NET is an SDK or only a runtime, and Go is identified by its VERSION file", async () => {
  using image = makeTestImage();
  image.file("opt/dotnet/dotnet", MINE, 0o755);
  image.link("bin/dotnet", "../opt/dotnet/dotnet");
  image.directory("opt/dotnet/shared");
  image.file("opt/dotnet/shared/Microsoft.NETCore.App/8.0.4/x.dll", "");
  const says = (): string => "Microsoft.NETCore.App 8.0.4 [/opt/dotnet]";
  expect((await installations(image, "dotnet", says)).found).toMatchObject([
    { version: "8.0.4", kind: "runtime" },
  ]);
  image.file("opt/dotnet/sdk/8.0.204/x.dll", "");
  expect((await installations(image, "dotnet", says)).found).toMatchObject([{ kind: "sdk" }]);

  image.file("bin/go", MINE, 0o755);
  image.file("home/sdk/go1.22.1/bin/go", MINE, 0o755);
  image.file("home/sdk/go1.22.1/VERSION", "go1.22.1\ntime 2024-02-29T18:18:48Z\n");
  const go = await installations(image, "go", () => "go version go1.21.0 linux/amd64");
  expect(go.found).toMatchObject([
    { version: "1.21.0", implementation: "gc" },
    { version: "1.22.1", implementation: "gc", probe_ms: null },
  ]);
});

test("A4: the number of listed installations is bounded, and the newest are kept", async () => {
  using image = makeTestImage();
  image.script("bin/ruby", "");
  for (let minor = 0; minor < 20; minor++) image.script(`bin/ruby3.${minor}`, `: ${minor}`);
  const says = (path: string): string => `ruby ${/ruby(3\.\d+)/.exec(path)?.[1] ?? "2.7"}.0p0`;
  const { found, started } = await installations(image, "ruby", says);
  expect(started.length).toBeLessThanOrEqual(12);
  expect(found).toHaveLength(1 + INSTALLATIONS_ALSO_MAX);
  expect(found.slice(0, 3).map(({ version }) => version)).toEqual([
    "2.7.0p0",
    "3.19.0p0",
    "3.18.0p0",
  ]);
});

test("A4: R and Rscript of one directory are one installation", async () => {
  using image = makeTestImage();
  image.script("bin/Rscript", "");
  image.link("bin/R", "../lib/R/bin/R");
  image.script("lib/R/bin/R", ":");
  const says = (): string => "Rscript (R) version 4.5.0 (2025-04-11)";
  const { found } = await installations(image, "r", says);
  expect(found.map(({ path }) => path)).toEqual(["/bin/Rscript"]);
});
