/** The second start in a Debian: the same verdicts from the cache, until an inspected file changes. (A4, A7) */
import { beforeAll, describe, expect, test } from "bun:test";
import { utimesSync, writeFileSync } from "node:fs";
import { addDebian } from "../roots/kinds.ts";
import { describeRoots, type Machine } from "../roots/machine.ts";
import { thisArch } from "../roots/processor.ts";
import { NOBODY, type Root } from "../roots/root.ts";
import { useSurroundings } from "../roots/surroundings.ts";
import { detect, PATH, type Report, verdictsOf, working } from "./seen.ts";

const ENVS = { FLEET_RUNTIME_ENVS_DIR: "/envs" };
const LOCAL = "/usr/local/bin";
const OS_RELEASE = "/usr/lib/os-release";

await describeRoots("detection with a state directory", thisArch, (machine: Machine) => {
  const surroundings = useSurroundings(machine);
  let root: Root;
  const look = (env: Readonly<Record<string, string>> = ENVS): Promise<Report> =>
    detect(root, { env }, ["--state-dir", "/state"]);
  const says = (path: string, text: string): void =>
    root.file(path, `#!/bin/sh\necho '${text}'\n`, 0o755);

  beforeAll(async () => {
    root = surroundings.plain("cache");
    addDebian(root, machine.packages);
    root.directory(LOCAL);
    says(`${LOCAL}/ruby`, "ruby 3.3.8 (2025-04-09) [x]");
    says(`${LOCAL}/python3`, "Python 3.11.2");
    for (const version of ["5.1.5", "5.4.7"]) says(`/opt/lua-${version}`, `Lua ${version}`);
    root.link(`${LOCAL}/lua`, "/opt/lua-5.1.5");
    root.file("/envs/sound/pyvenv.cfg", `home = ${LOCAL}\n`);
    root.link("/envs/sound/bin/python3", `${LOCAL}/python3`);
    // A file that was just created is inspected again, because it could change unnoticed within a tick of the clock.
    await look();
  });

  test("a second look says the same, and runs nothing (A4)", async () => {
    const fresh = await detect(root, { env: ENVS }, ["--state-dir", "/state", "--fresh"]);
    const [second, third] = [await look(), await look()];
    expect([fresh.cached, second.cached, third.cached]).toEqual([false, true, true]);
    expect(third.looked_at_ms).toBe(fresh.looked_at_ms);
    expect(verdictsOf(third)).toEqual(verdictsOf(fresh));
    expect(third.image).toEqual(fresh.image);
    const names = third.interpreters.map(({ name }) => name);
    expect(names.toSorted()).toEqual(["lua", "perl", "python", "ruby", "shell"]);
    expect(third.environments).toMatchObject([{ name: "sound", version: "3.11.2" }]);
  });

  test("facts of the image are read anew all the same (A7)", async () => {
    await look();
    // In place: its directory is inspected for other reasons.
    writeFileSync(root.at(OS_RELEASE), 'ID=other\nVERSION_ID=9\nPRETTY_NAME="Other 9"\n');
    const { cached, image } = await look();
    expect(image.os).toEqual({ id: "other", version: "9", pretty_name: "Other 9" });
    expect(cached).toBe(true);
  });

  describe("everything is looked at again when", () => {
    type Change = () => Readonly<Record<string, string>> | void;
    const changes: readonly (readonly [string, Change])[] = [
      ["an interpreter has been touched", () => utimesSync(root.at("/usr/bin/perl"), 1, 1)],
      ["an interpreter has been replaced", () => says(`${LOCAL}/ruby`, "ruby 9.9.9 (2030-01-01)")],
      ["a link leads elsewhere", () => root.link(`${LOCAL}/lua`, "/opt/lua-5.4.7")],
      ["something has come to where it was looked", () => says(`${LOCAL}/deno`, "deno 1.2.3")],
      ["a virtual environment has come", () => root.file("/envs/new/pyvenv.cfg", "home = /x\n")],
      ["an environment's Python leads elsewhere", () => root.link("/envs/sound/bin/python3", "/x")],
      ["PATH is another", () => ({ ...ENVS, PATH: `/nowhere:${PATH}` })],
      ["the cache is damaged", () => root.file("/state/detection.json", "{", 0o600, NOBODY)],
      [
        "somebody else could have written the cache",
        () => root.mode("/state/detection.json", 0o666),
      ],
    ];
    test.each(changes)("%s (A4)", async (_what, change) => {
      await look();
      expect((await look()).cached).toBe(true);
      const env = change() ?? ENVS;
      const changed = await look(env);
      expect(changed.cached).toBe(false);
      const fresh = await detect(root, { env }, ["--state-dir", "/state", "--fresh"]);
      expect(fresh.cached).toBe(false);
      expect(verdictsOf(changed)).toEqual(verdictsOf(fresh));
    });

    test("what is found then is what was put there (A4)", async () => {
      const report = await look();
      const versions = ["ruby", "lua", "deno"].map((name) => working(report, name).version);
      expect(versions).toEqual(["9.9.9", "5.4.7", "1.2.3"]);
      expect(report.environments).toMatchObject([
        { name: "new", verdict: "broken" },
        { name: "sound", verdict: "broken" },
      ]);
    });
  });
});
