/** Virtual environments that were created elsewhere, in a Debian with real interpreters: used if they work, else reported with the problem. (A9) */
import { beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { describeRoots, type Machine } from "../roots/machine.ts";
import { fetchPackages, type Packages } from "../roots/packages.ts";
import { type Arch, PROCESSORS, thisArch } from "../roots/processor.ts";
import type { Root } from "../roots/root.ts";
import { useSurroundings } from "../roots/surroundings.ts";
import { type LanguagesRoot, languagesRoot } from "./languages-root.ts";
import { detect, PATH, type Report } from "./seen.ts";
import { packageVersion, realPathIn } from "./truth.ts";

const otherArch: Arch = thisArch === "x86_64" ? "aarch64" : "x86_64";
const ENVS = "/shared";
const FRAMES_MIN = 3;

/** `breaks` damages a working environment; the reason must contain all `words`. */
interface Broken {
  readonly name: string;
  readonly breaks: (root: Root, dir: string) => void;
  readonly words: readonly string[];
}

/** `version` is that of the Python here, such as `3.13`. */
function brokenOnes(version: string, foreignDash: Uint8Array): readonly Broken[] {
  const tag = `cpython-${version.replace(".", "")}`;
  const { triple } = PROCESSORS[thisArch];
  const foreign = PROCESSORS[otherArch].triple;
  const packages = `lib/python${version}/site-packages`;
  const extension = (name: string) => (root: Root, dir: string) =>
    root.file(`${dir}/${packages}/thing/${name}`, "\x7fELF");
  return [
    {
      name: "gone",
      breaks: (root, dir) => {
        root.link(`${dir}/bin/python3`, "/opt/python3.9/bin/python3.9");
        root.link(`${dir}/bin/python`, "python3");
        root.file(`${dir}/pyvenv.cfg`, "home = /opt/python3.9/bin\nversion = 3.9.18\n");
      },
      words: ["/opt/python3.9/bin"],
    },
    {
      name: "hollow",
      breaks: (root, dir) => root.remove(`${dir}/bin`),
      words: ["bin/python3"],
    },
    {
      name: "older",
      breaks: (root, dir) => {
        root.remove(`${dir}/lib`);
        root.file(`${dir}/lib/python3.9/site-packages/thing.py`, "");
      },
      words: ["3.9", version],
    },
    {
      name: "of-another-processor",
      breaks: (root, dir) => {
        root.file(`${dir}/bin/python3`, foreignDash, 0o755);
        root.link(`${dir}/bin/python`, "python3");
      },
      words: [otherArch],
    },
    {
      name: "extension-for-another-version",
      breaks: extension(`_fast.cpython-39-${triple}.so`),
      words: [`_fast.cpython-39-${triple}.so`],
    },
    {
      name: "extension-for-another-processor",
      breaks: extension(`_fast.${tag}-${foreign}.so`),
      words: [`_fast.${tag}-${foreign}.so`, otherArch],
    },
    {
      name: "extension-for-musl",
      breaks: extension(`_fast.${tag}-${triple.replace("gnu", "musl")}.so`),
      words: ["_fast.", "musl"],
    },
    {
      name: "looping",
      breaks: (root, dir) => {
        root.link(`${dir}/bin/python3`, "python");
        root.link(`${dir}/bin/python`, "python3");
      },
      words: ["bin/python"],
    },
    {
      name: "unreadable",
      breaks: (root, dir) => root.directory(`${dir}/bin`, 0o700),
      words: [],
    },
  ];
}

interface Prepared {
  readonly languages: LanguagesRoot;
  readonly foreign: Packages;
}

await describeRoots(
  "virtual environments (A9)",
  thisArch,
  (machine: Machine, { languages, foreign }: Prepared) => {
    const surroundings = useSurroundings(machine);
    const foreignDash = readFileSync(foreign.file("dash", "bin/dash"));
    let root: Root;
    let report: Report;
    let python: string;
    let broken: readonly Broken[];

    beforeAll(async () => {
      root = surroundings.plain("environments", languages.dir);
      python = realPathIn(root, "/usr/bin/python3");
      const version = /\d\.\d+$/.exec(python)![0];
      broken = brokenOnes(version, foreignDash);
      root.directory(ENVS);
      for (const name of ["moved", "with-extensions"])
        root.copy(`${ENVS}/${name}`, "/envs/by-python");
      const packages = `${ENVS}/with-extensions/lib/python${version}/site-packages/thing`;
      const { triple } = PROCESSORS[thisArch];
      for (const name of [
        `_a.cpython-${version.replace(".", "")}-${triple}.so`,
        "_b.abi3.so",
        "_c.so",
      ])
        root.file(`${packages}/${name}`, "\x7fELF");
      for (const { name, breaks } of broken) {
        root.copy(`${ENVS}/${name}`, "/envs/by-python");
        breaks(root, `${ENVS}/${name}`);
      }
      root.file(`${ENVS}/not-one/readme`, "");
      report = await detect(root, { env: { FLEET_RUNTIME_ENVS_DIR: ENVS } });
    });

    test("those that work here are given with their interpreter and its version", () => {
      const sound = report.environments.filter(({ verdict }) => verdict === "ok");
      const expected = ["moved", "with-extensions"].map((name) => ({
        name,
        interpreter: `${ENVS}/${name}/bin/python3`,
        real_path: python,
        version: packageVersion(root, `python${/\d\.\d+$/.exec(python)![0]}-minimal`),
        reason: null,
      }));
      expect(sound).toMatchObject(expected);
      expect(sound).toHaveLength(expected.length);
    });

    test("each of the others is named, with exactly what is wrong", () => {
      const found = report.environments.filter(({ verdict }) => verdict === "broken");
      expect(found.map(({ name }) => name)).toEqual(broken.map(({ name }) => name).toSorted());
      for (const { name, words } of broken) {
        const { reason, interpreter } = found.find((one) => one.name === name)!;
        expect([name, interpreter]).toEqual([name, null]);
        for (const word of words)
          expect([name, reason]).toEqual([name, expect.stringContaining(word) as string]);
      }
    });

    describe("for a sensor (A11)", () => {
      test("one that works gives its interpreter; one that does not keeps only its own sensor from running", async () => {
        const outside = surroundings.outside();
        root.file(
          "/sensor.py",
          `import itertools, os, sys, time
assert sys.prefix == os.environ["VIRTUAL_ENV"] == "${ENVS}/moved", sys.prefix
for i in itertools.count(1):
    print('{"timestamp":%d,"delay":[%d],"doppler":[0],"snr":[1]}' % (1783500000000 + i, i), flush=True)
    time.sleep(0.05)
`,
        );
        const sensors = ["moved", "gone"].map((environment) => ({
          name: environment,
          runtime: "python",
          environment,
          command: ["/sensor.py"],
        }));
        root.file("/agent.yaml", JSON.stringify({ node: { name: "envs" }, sensors }));
        const env = { PATH, FLEET_RUNTIME_ENVS_DIR: ENVS, ...outside.environment };
        const agent = root.agent(["--config", "/agent.yaml", "--state-dir", "/state"], { env });
        await agent.until("frames", () => outside.frames("envs.moved").length >= FRAMES_MIN);
        agent.kill("SIGTERM");
        expect(await agent.exit()).toBe(143);
        expect(outside.frames("envs.gone")).toEqual([]);
        expect(agent.err()).toContain("/opt/python3.9/bin");
      });
    });
  },
  async () => {
    const [languages, foreign] = [await languagesRoot(), await fetchPackages(otherArch)];
    if (typeof languages === "string") return languages;
    return typeof foreign === "string" ? foreign : { languages, foreign };
  },
);
