/** Detects interpreters behind wrappers and misleading names, in a Debian with the real programs. (A4) */
import { beforeAll, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { describeRoots, type Machine } from "../roots/machine.ts";
import { PROCESSORS, thisArch } from "../roots/processor.ts";
import type { Root } from "../roots/root.ts";
import { useSurroundings } from "../roots/surroundings.ts";
import { type LanguagesRoot, languagesRoot } from "./languages-root.ts";
import { detect, named, PATH, type Report, working } from "./seen.ts";
import { packageVersion, realPathIn } from "./truth.ts";

const LOCAL = "/usr/local/bin";
/** The directory in which Bun's images have a `node` that is Bun. */
const FALLBACK = "/usr/local/bun-node-fallback-bin";
const LIBRARIES = `/usr/lib/${PROCESSORS[thisArch].triple}`;
const ELSEWHERE = "/opt/node/lib";

await describeRoots(
  "a root where names mislead",
  thisArch,
  (machine: Machine, { dir }: LanguagesRoot) => {
    const surroundings = useSurroundings(machine);
    let root: Root;
    let report: Report;
    let libnode: string;
    const look = (env: Readonly<Record<string, string>> = {}): Promise<Report> =>
      detect(root, { env: { PATH: `${FALLBACK}:${PATH}`, ...env } });

    beforeAll(async () => {
      root = surroundings.plain("wrappers", dir);
      root.bind(`${LOCAL}/bun`, process.execPath);
      root.link(`${FALLBACK}/node`, `${LOCAL}/bun`);
      root.link(`${LOCAL}/python3`, "/usr/bin/perl");
      root.file(`${LOCAL}/ruby`, '#!/bin/sh\nexec /usr/bin/ruby "$@"\n', 0o755);
      root.file(`${LOCAL}/lua`, '#!/bin/sh\nexec /usr/bin/php "$@"\n', 0o755);
      const library = readdirSync(root.at(LIBRARIES)).find((name) =>
        /^libnode\.so\.\d+$/.test(name),
      );
      libnode = `${LIBRARIES}/${library!}`;
      root.file(`${ELSEWHERE}/${basename(libnode)}`, readFileSync(root.at(libnode)));
      root.remove(libnode);
      report = await look();
    });

    test("another language's interpreter by this one's name is passed over, by link and by script (A4)", () => {
      const passed = (name: string, path: string) =>
        named(report, name)?.rejected.find((rejection) => rejection.path === path);
      const cases = [
        ["python", `${LOCAL}/python3`, "perl"],
        ["node", `${FALLBACK}/node`, "bun"],
        ["lua", `${LOCAL}/lua`, "php"],
      ] as const;
      for (const [name, path, really] of cases) {
        expect([path, passed(name, path)?.code]).toEqual([path, "impostor"]);
        expect(passed(name, path)?.reason).toContain(really);
      }
      expect(working(report, "python").path).toBe("/usr/bin/python3");
      expect(working(report, "lua").path).toBe("/usr/bin/lua");
      expect(working(report, "bun")).toMatchObject({
        path: `${LOCAL}/bun`,
        version: Bun.version,
        implementation: "bun",
      });
    });

    test("a script that starts the real one stands for it, and says so (A4)", () => {
      const semver = packageVersion(root, basename(realPathIn(root, "/usr/bin/ruby")));
      expect(working(report, "ruby")).toMatchObject({
        path: `${LOCAL}/ruby`,
        semver,
        via: expect.stringContaining(`${LOCAL}/ruby`) as string,
        note: expect.stringContaining("/usr/bin/ruby") as string,
        also: [{ path: "/usr/bin/ruby", semver, via: null }],
      });
    });

    test("one that lacks a library is broken, and the library named (A4)", () => {
      expect(named(report, "node")).toMatchObject({ verdict: "broken" });
      const lacking = named(report, "node")?.rejected.find(({ path }) => path === "/usr/bin/node");
      expect(lacking?.code).toBe("library_missing");
      expect(lacking?.reason).toContain(basename(libnode));
    });

    test("one that works only with the image's LD_LIBRARY_PATH works, and says so (A4)", async () => {
      expect(working(await look({ LD_LIBRARY_PATH: ELSEWHERE }), "node")).toMatchObject({
        path: "/usr/bin/node",
        version: packageVersion(root, "nodejs"),
        note: expect.stringContaining("LD_LIBRARY_PATH") as string,
      });
    });
  },
  languagesRoot,
);
