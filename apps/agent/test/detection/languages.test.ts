/** Detects the languages of a Debian, compares them with its packages, and runs a sensor in each. (A4, A7, A9, A11) */
import { beforeAll, describe, expect, test } from "bun:test";
import { describeRoots, type Machine } from "../roots/machine.ts";
import { thisArch } from "../roots/processor.ts";
import { NOBODY, type Root } from "../roots/root.ts";
import { useSurroundings } from "../roots/surroundings.ts";
import { STEERING } from "./steering.ts";
import { LANGUAGE_SENSORS } from "./language-sensors.ts";
import { ENVIRONMENTS, type LanguagesRoot, languagesRoot } from "./languages-root.ts";
import {
  detect,
  inOrder,
  PATH,
  rejections,
  type Report,
  seen,
  verdictsOf,
  working,
} from "./seen.ts";
import {
  elfFacts,
  type Installed,
  installedInterpreters,
  installedManagers,
  osRelease,
  packageVersion,
  realPathIn,
  uname,
} from "./truth.ts";

const FRAMES_MIN = 3;
/** A shell from no package: busybox under another name. */
const ASH = "/usr/local/bin/ash";
/** The interpreter that PATH selects for each language. */
const COMMANDS: Readonly<Record<string, string>> = {
  shell: "sh",
  python: "python3",
  node: "node",
  ruby: "ruby",
  go: "go",
  java: "java",
  r: "Rscript",
  perl: "perl",
  php: "php",
  lua: "lua",
  elixir: "elixir",
};

await describeRoots(
  "a Debian with many languages",
  thisArch,
  (machine: Machine, { dir }: LanguagesRoot) => {
    const surroundings = useSurroundings(machine);
    let root: Root;
    let truth: Installed[];
    let report: Report;
    beforeAll(async () => {
      root = surroundings.plain("languages", dir);
      root.link(ASH, "/bin/busybox");
      truth = inOrder([...(await installedInterpreters(root)), busyboxAsh(root)]);
      report = await detect(root, { env: { FLEET_RUNTIME_ENVS_DIR: "/envs" } });
    });

    describe("is reported as it is", () => {
      test("each interpreter of each package, with its version and kind, and nothing else (A4, A7)", () => {
        expect(truth.length).toBeGreaterThan(LANGUAGE_SENSORS.length);
        expect(seen(report, truth)).toEqual(truth);
        expect(rejections(report)).toEqual([]);
      });

      test("the one that is used is the one PATH and the alternatives lead to (A4)", () => {
        const names = report.interpreters.map(({ name }) => name);
        expect(names.toSorted()).toEqual(Object.keys(COMMANDS).toSorted());
        for (const name of names) {
          const path = `/usr/bin/${COMMANDS[name]}`;
          const { path: used, real_path } = working(report, name);
          expect([used, real_path]).toEqual([path, realPathIn(root, path)]);
        }
      });

      test("of several versions, the others are given newest first (A4)", () => {
        const others = working(report, "lua").also.map(({ semver }) => semver ?? "");
        expect(others.length).toBeGreaterThan(1);
        expect(others).toEqual(others.toSorted(Bun.semver.order).toReversed());
      });

      test("the package managers, with their versions (A7)", () => {
        const managers = report.package_managers.filter(({ name }) => name !== "cpan");
        const installed = installedManagers(root).filter(({ name }) => name !== "cpan");
        const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1);
        expect(managers.toSorted(byName)).toEqual(installed.toSorted(byName));
        // It is part of perl, but its version is only in its own source.
        expect(report.package_managers.filter(({ name }) => name === "cpan")).toHaveLength(1);
      });

      test("the virtual environments that were made in it, with their interpreters (A9)", () => {
        const expected = Object.entries(ENVIRONMENTS).map(([name, python]) => {
          const interpreter = `/envs/${name}/bin/python3`;
          const real_path = realPathIn(root, interpreter);
          expect(real_path).toBe(realPathIn(root, `/usr/bin/${python}`));
          const { version } = truth.find((one) => one.real_path === real_path)!;
          return { name, path: `/envs/${name}`, verdict: "ok", interpreter, real_path, version };
        });
        expect(report.environments).toMatchObject(
          expected.toSorted((a, b) => (a.name < b.name ? -1 : 1)),
        );
      });

      test("the image itself (A7)", () => {
        expect(report.image).toMatchObject({
          os: {
            id: osRelease(root, "ID"),
            version: osRelease(root, "VERSION_ID"),
            pretty_name: osRelease(root, "PRETTY_NAME"),
          },
          kernel: uname("-r"),
          arch: uname("-m"),
          libc: { family: "glibc", version: packageVersion(root, "libc6") },
          uid: NOBODY,
          gid: NOBODY,
          path: PATH,
        });
      });
    });

    test("nothing the image has in its environment changes a verdict, or runs (A4)", async () => {
      root.directory("/hostile", 0o777);
      for (const [name, text] of Object.entries(STEERING.files))
        root.file(`/hostile/${name}`, text, 0o755);
      const env = { ...STEERING.env, FLEET_RUNTIME_ENVS_DIR: "/envs" };
      const steered = await detect(root, { env, cwd: "/hostile" });
      expect(verdictsOf(steered)).toEqual(verdictsOf(report));
      expect(root.list("/hostile")).toEqual(Object.keys(STEERING.files).toSorted());
    });

    test("a sensor in each language runs, and its frames arrive in order (A10, A11)", async () => {
      const outside = surroundings.outside();
      for (const { file, text } of LANGUAGE_SENSORS) root.file(`/sensors/${file}`, text);
      const sensors = LANGUAGE_SENSORS.map(({ runtime, file }) => ({
        name: runtime,
        runtime,
        command: [`/sensors/${file}`],
      }));
      root.file("/agent.yaml", JSON.stringify({ node: { name: "languages" }, sensors }));
      const env = { PATH, ...outside.environment };
      const agent = root.agent(["--config", "/agent.yaml", "--state-dir", "/state"], { env });
      for (const { name } of sensors) {
        const stream = `languages.${name}`;
        await agent.until(`frames of ${stream}`, () => outside.frames(stream).length >= FRAMES_MIN);
      }
      agent.kill("SIGTERM");
      expect(await agent.exit()).toBe(143);
      for (const { name } of sensors) {
        const numbers = outside.frames(`languages.${name}`);
        expect([name, ...numbers]).toEqual([name, ...numbers.map((_, i) => i + 1)]);
      }
      expect(root.processes()).toEqual([]);
    });
  },
  languagesRoot,
);

function busyboxAsh(root: Root): Installed {
  const real_path = realPathIn(root, ASH);
  return {
    name: "shell",
    real_path,
    version: packageVersion(root, "busybox-static"),
    implementation: "busybox",
    vendor: null,
    kind: null,
    ...elfFacts(root, real_path),
  };
}
