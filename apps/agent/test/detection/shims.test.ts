/** Detects interpreters behind the shims of version managers, and reports versions that are not installed. (A4) */
import { beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, rmSync } from "node:fs";
import { basename } from "node:path";
import { describeRoots, type Machine } from "../roots/machine.ts";
import { thisArch } from "../roots/processor.ts";
import type { Root } from "../roots/root.ts";
import { useSurroundings } from "../roots/surroundings.ts";
import { type LanguagesRoot, languagesRoot } from "./languages-root.ts";
import { detect, named, type Report, working } from "./seen.ts";
import * as shims from "./shims.ts";
import { ASDF, HOME, MISE, NVM, PYENV, RBENV, SHIM_PATH, VOLTA } from "./shims.ts";
import { type Installed, installedInterpreters } from "./truth.ts";

/** pyenv's name of a PyPy version. */
const PYPY = "pypy3.11-7";
/** A selected version that is not installed. */
const MISSING = "3.12.1";
/** Other names in /usr/bin of the removed interpreters. */
const LINKS = [
  ["python3", "pypy3", "nodejs", "ruby", "php", "php.default", "lua"],
  ["go", "java", "elixir", "R"],
].flat();

await describeRoots(
  "a root with version managers (A4)",
  thisArch,
  (machine: Machine, { dir }: LanguagesRoot) => {
    const surroundings = useSurroundings(machine);
    let root: Root;
    let truth: Installed[];
    let report: Report;
    /** The version of an implementation according to its package. */
    const version = (implementation: string, major = ""): string =>
      truth.find((one) => one.implementation === implementation && one.version?.startsWith(major))!
        .version!;
    const look = (env: Readonly<Record<string, string>> = {}): Promise<Report> =>
      detect(root, { env: { PATH: SHIM_PATH, HOME, ...env } });

    beforeAll(async () => {
      root = surroundings.plain("shims", dir);
      truth = await installedInterpreters(root);
      populate(root, truth);
      report = await look();
    });

    test("a shim of pyenv stands for the version that `pyenv global` has chosen", () => {
      expect(working(report, "python")).toMatchObject({
        path: `${PYENV}/versions/${version("cpython")}/bin/python3`,
        version: version("cpython"),
        via: expect.stringContaining(`${PYENV}/shims/python3`) as string,
        also: [{ implementation: "pypy", version: version("pypy") }],
      });
    });

    test("PYENV_VERSION of the image is heeded", async () => {
      expect(working(await look({ PYENV_VERSION: PYPY }), "python")).toMatchObject({
        path: `${PYENV}/versions/${PYPY}/bin/python3`,
        implementation: "pypy",
        via: expect.stringContaining("pyenv") as string,
        also: [{ implementation: "cpython", version: version("cpython") }],
      });
    });

    describe("a version that is not installed is named, with what has asked for it, and another is used:", () => {
      test.each([
        ["PYENV_VERSION", { PYENV_VERSION: MISSING }, () => {}],
        [`${PYENV}/version`, {}, () => root.file(`${PYENV}/version`, `${MISSING}\n`)],
      ] as const)("%s", async (asker, env, prepare) => {
        prepare();
        const python = working(await look(env), "python");
        expect(python.version).toBe(version("cpython"));
        const shim = python.rejected.find(({ path }) => path === `${PYENV}/shims/python3`);
        expect(shim?.code).toBe("shim_unresolved");
        expect(shim?.reason).toContain(MISSING);
        expect(shim?.reason).toContain(asker);
      });
    });

    test("a shim of rbenv stands for the version of its version file", () => {
      expect(working(report, "ruby")).toMatchObject({
        path: `${RBENV}/versions/${version("mri")}/bin/ruby`,
        version: version("mri"),
        via: expect.stringContaining(`${RBENV}/shims/ruby`) as string,
        also: [],
      });
    });

    test("a shim of Volta stands for the node of its platform.json, and nvm's are found beside it", () => {
      expect(working(report, "node")).toMatchObject({
        path: `${VOLTA}/tools/image/node/${version("node")}/bin/node`,
        version: version("node"),
        via: expect.stringContaining(`${VOLTA}/bin/node`) as string,
        also: [{ path: `${NVM}/versions/node/v${version("node")}/bin/node`, via: null }],
      });
    });

    test("a shim of asdf stands for the version of .tool-versions, and the others are found beside it", () => {
      expect(working(report, "lua")).toMatchObject({
        path: `${ASDF}/installs/lua/${version("lua", "5.1")}/bin/lua`,
        version: version("lua", "5.1"),
        via: expect.stringContaining(`${ASDF}/shims/lua`) as string,
        also: [{ version: version("lua", "5.4") }],
      });
    });

    test("a shim of asdf whose version is not installed is rejected, and what is installed is used", () => {
      const perl = working(report, "perl");
      expect(perl.path).toBe(`${ASDF}/installs/perl/${version("perl5")}/bin/perl`);
      expect(perl.rejected).toMatchObject([
        { path: `${ASDF}/shims/perl`, code: "shim_unresolved" },
      ]);
      expect(perl.rejected[0]?.reason).toContain("5.38.0");
      expect(perl.rejected[0]?.reason).toContain(`${HOME}/.tool-versions`);
    });

    test("a shim of mise stands for what it has installed", () => {
      expect(working(report, "php")).toMatchObject({
        path: `${MISE}/installs/php/${version("php")}/bin/php`,
        version: version("php"),
        via: expect.stringContaining("mise") as string,
      });
    });

    test("a Java of SDKMAN's is told from the distribution's: vendor, and compiler or none", () => {
      expect(working(report, "java")).toMatchObject({
        vendor: "Eclipse Adoptium",
        kind: "jdk",
        also: [{ vendor: "Debian", kind: "jre" }],
      });
    });

    test("the shims themselves are no installations", () => {
      const paths = report.interpreters.flatMap((one) =>
        one.verdict === "ok" ? [one, ...one.also].map(({ real_path }) => real_path) : [],
      );
      expect(paths.filter((path) => /\/shims\/|volta-shim|\/mise$/.test(path))).toEqual([]);
      expect(named(report, "go")).toBeUndefined();
    });
  },
  languagesRoot,
);

/** Moves all interpreters except shells from the usual directories to those of version managers. */
function populate(root: Root, truth: readonly Installed[]): void {
  const pathOf = (implementation: string, major = ""): string =>
    truth.find((one) => one.implementation === implementation && one.version?.startsWith(major))!
      .real_path;
  const versionOf = (path: string): string =>
    truth.find(({ real_path }) => real_path === path)!.version!;
  const [python, pypy, ruby, node] = [
    pathOf("cpython"),
    pathOf("pypy"),
    pathOf("mri"),
    pathOf("node"),
  ];
  const [lua51, lua54, perl, php] = [
    pathOf("lua", "5.1"),
    pathOf("lua", "5.4"),
    pathOf("perl5"),
    pathOf("php"),
  ];

  const inPyenv = `${PYENV}/versions/${versionOf(python)}/bin`;
  const pythons = [basename(python), "python3", "python"].map((name) => `${inPyenv}/${name}`);
  shims.install(root, python, ...pythons);
  // pypy finds its library next to itself.
  const inPypy = `${PYENV}/versions/${PYPY}`;
  root.link(`${inPypy}/lib`, "/usr/lib");
  const names = ["pypy3", "python3", "python"].map((name) => `${inPypy}/bin/${name}`);
  shims.install(root, pypy, `${inPypy}/bin/${basename(pypy)}`, ...names);
  shims.addPyenv(root, `${versionOf(python)}\n${PYPY}\n`);

  shims.install(root, ruby, `${RBENV}/versions/${versionOf(ruby)}/bin/ruby`);
  shims.addRbenv(root, `${versionOf(ruby)}\n`);
  shims.install(root, node, `${VOLTA}/tools/image/node/${versionOf(node)}/bin/node`);
  shims.addVolta(root, versionOf(node));
  shims.install(root, node, `${NVM}/versions/node/v${versionOf(node)}/bin/node`);

  const luas = [lua54, lua51];
  for (const lua of luas)
    shims.install(root, lua, `${ASDF}/installs/lua/${versionOf(lua)}/bin/lua`);
  shims.addAsdfShim(root, "lua", "lua", luas.map(versionOf), "go");
  shims.install(root, perl, `${ASDF}/installs/perl/${versionOf(perl)}/bin/perl`);
  shims.addAsdfShim(root, "perl", "perl", [versionOf(perl)], "bash");
  root.file(`${HOME}/.tool-versions`, `# of all projects\nlua ${versionOf(lua51)}\nperl 5.38.0\n`);

  shims.install(root, php, `${MISE}/installs/php/${versionOf(php)}/bin/php`);
  shims.addMise(root, { php: versionOf(php) });
  shims.addSdkmanJava(root, pathOf("openjdk"), "21-tem");

  const taken = truth.filter(({ name }) => name !== "shell" && name !== "java");
  for (const { real_path } of taken) rmSync(root.at(real_path));
  const numbered = readdirSync(root.at("/usr/bin")).filter((name) => /^perl5[\d.]+$/.test(name));
  for (const name of [...LINKS, ...numbered]) rmSync(root.at(`/usr/bin/${name}`), { force: true });
}
