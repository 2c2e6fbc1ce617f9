/** The second start in a Debian with many languages: the same verdicts from the cache, until a file that was looked at is another. (A4, A7) */
import { beforeAll, describe, expect, test } from "bun:test";
import { readFileSync, utimesSync, writeFileSync } from "node:fs";
import { describeRoots, type Machine } from "../roots/machine.ts";
import { thisArch } from "../roots/processor.ts";
import { NOBODY, type Root } from "../roots/root.ts";
import { useSurroundings } from "../roots/surroundings.ts";
import { type LanguagesRoot, languagesRoot } from "./languages-root.ts";
import { detect, PATH, type Report, verdictsOf, working } from "./seen.ts";
import { realPathIn } from "./truth.ts";

const ENVS = { FLEET_RUNTIME_ENVS_DIR: "/envs" };

await describeRoots(
  "detection with a state directory",
  thisArch,
  (machine: Machine, { dir }: LanguagesRoot) => {
    const surroundings = useSurroundings(machine);
    let root: Root;
    let ruby: string;
    const look = (env: Readonly<Record<string, string>> = ENVS): Promise<Report> =>
      detect(root, { env }, ["--state-dir", "/state"]);

    beforeAll(() => {
      root = surroundings.plain("cache", dir);
      ruby = realPathIn(root, "/usr/bin/ruby");
      // Files of the root are shared with others': these may be changed.
      for (const path of [ruby, "/usr/lib/os-release"])
        root.file(path, readFileSync(root.at(path)), path === ruby ? 0o755 : 0o644);
      root.directory("/usr/local/bin", 0o755, NOBODY);
    });

    test("a second look says the same, and runs nothing (A4)", async () => {
      const [first, second] = [await look(), await look()];
      expect([first.cached, second.cached]).toEqual([false, true]);
      expect(second.looked_at_ms).toBe(first.looked_at_ms);
      expect(verdictsOf(second)).toEqual(verdictsOf(first));
      expect(second.image).toEqual(first.image);
    });

    test("facts of the image are read anew all the same (A7)", async () => {
      await look();
      // In place: its directory was looked at for other reasons.
      writeFileSync(
        root.at("/usr/lib/os-release"),
        'ID=other\nVERSION_ID=9\nPRETTY_NAME="Other 9"\n',
      );
      const { cached, image } = await look();
      expect(image.os).toEqual({ id: "other", version: "9", pretty_name: "Other 9" });
      expect(cached).toBe(true);
    });

    describe("everything is looked at again when", () => {
      const changes: readonly (readonly [string, () => Readonly<Record<string, string>> | void])[] =
        [
          ["an interpreter has been touched", () => utimesSync(root.at(ruby), 1, 1)],
          [
            "an interpreter has been replaced",
            () => root.file(ruby, "#!/bin/sh\necho 'ruby 9.9.9 (2030-01-01) [x]'\n", 0o755),
          ],
          [
            "a link leads elsewhere",
            () => root.link("/etc/alternatives/lua-interpreter", "/usr/bin/lua5.4"),
          ],
          [
            "something has come to a directory that was searched",
            () => root.file("/usr/local/bin/deno", "#!/bin/sh\necho deno 1.2.3\n", 0o755),
          ],
          [
            "a virtual environment has come",
            () => root.file("/envs/new/pyvenv.cfg", "home = /x\n"),
          ],
          ["PATH is another", () => ({ ...ENVS, PATH: `/nowhere:${PATH}` })],
          ["the cache is damaged", () => root.file("/state/detection.json", "{")],
        ];
      test.each(changes)("%s (A4)", async (_what, change) => {
        expect((await look()).cached).toBe(true);
        const env = change() ?? ENVS;
        expect((await look(env)).cached).toBe(false);
        expect((await look(env)).cached).toBe(true);
        // Whatever the cache says now is what is there.
        const fresh = await detect(root, { env }, ["--state-dir", "/state", "--fresh"]);
        expect(fresh.cached).toBe(false);
        expect(verdictsOf(await look(env))).toEqual(verdictsOf(fresh));
        await look();
      });

      test("the new interpreters are those that were put there (A4)", async () => {
        const report = await look();
        expect(working(report, "ruby").version).toBe("9.9.9");
        expect(working(report, "deno").version).toBe("1.2.3");
        expect(working(report, "lua").real_path).toBe("/usr/bin/lua5.4");
        expect(report.environments.map(({ name }) => name)).toContain("new");
      });
    });
  },
  languagesRoot,
);
