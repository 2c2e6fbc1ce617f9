/** Detects interpreters in small roots: busybox in its forms, and a root like Alpine's with a real interpreter for musl. (A4, A7) */
import { describe, expect, test } from "bun:test";
import { linkSync, readFileSync } from "node:fs";
import { describeRoots, type Machine } from "../roots/machine.ts";
import { thisArch } from "../roots/processor.ts";
import type { Root } from "../roots/root.ts";
import { useSurroundings } from "../roots/surroundings.ts";
import { type MuslLua, muslLua } from "./musl-lua.ts";
import { detect, rejections, type Report, working } from "./seen.ts";
import { elfFacts } from "./truth.ts";

await describeRoots(
  "a small root",
  thisArch,
  (machine: Machine, lua: MuslLua) => {
    const surroundings = useSurroundings(machine);
    const { packages } = machine;
    const busybox = readFileSync(packages.file("busybox-static", "bin/busybox"));
    const shell = {
      name: "shell",
      implementation: "busybox",
      version: packages.version("busybox-static"),
      libc: "static",
      arch: thisArch,
    };

    const forms: readonly (readonly [string, (root: Root) => void, string])[] = [
      [
        "links to busybox",
        (root) => {
          root.file("/bin/busybox", busybox, 0o755);
          root.link("/bin/sh", "busybox");
        },
        "/bin/busybox",
      ],
      [
        "hard links to busybox",
        (root) => {
          root.file("/bin/busybox", busybox, 0o755);
          for (const name of ["sh", "ash"])
            linkSync(root.at("/bin/busybox"), root.at(`/bin/${name}`));
        },
        "/bin/sh",
      ],
      [
        "busybox, called sh and nothing else",
        (root) => root.file("/bin/sh", busybox, 0o755),
        "/bin/sh",
      ],
      [
        "busybox where no PATH leads",
        (root) => {
          root.file("/busybox/busybox", busybox, 0o755);
          root.link("/busybox/sh", "busybox");
        },
        "/busybox/busybox",
      ],
    ];
    describe("is reported as it is, with", () => {
      test.each(forms)("%s (A4, A7)", async (what, populate, real_path) => {
        const root = surroundings.plain(what.replaceAll(/\W+/g, "-"));
        populate(root);
        const report = await detect(root);
        expect(report.interpreters).toMatchObject([{ ...shell, real_path, also: [] }]);
        expect(rejections(report)).toEqual([]);
        expect(report.package_managers).toEqual([]);
        expect(report.image).toMatchObject({ os: null, libc: { family: "none", version: null } });
      });
    });

    test("one like Alpine's is musl's: the image, its interpreter, and apk (A4, A7)", async () => {
      const root = surroundings.plain("alpine");
      addAlpine(root, busybox, lua);
      const report: Report = await detect(root);
      expect(report.interpreters.map(({ name }) => name)).toEqual(["shell", "lua"]);
      expect(working(report, "shell")).toMatchObject({ ...shell, real_path: "/bin/busybox" });
      expect(elfFacts(root, "/usr/bin/lua5.4")).toEqual({ libc: "musl", arch: thisArch });
      expect(working(report, "lua")).toMatchObject({
        real_path: "/usr/bin/lua5.4",
        version: lua.version,
        implementation: "lua",
        libc: "musl",
        arch: thisArch,
        also: [],
      });
      expect(rejections(report)).toEqual([]);
      expect(report.package_managers).toEqual([
        { name: "apk", path: "/sbin/apk", version: "2.14.4" },
      ]);
      expect(report.image).toMatchObject({
        os: { id: "alpine", version: "3.20.3", pretty_name: "Alpine Linux v3.20" },
        libc: { family: "musl", version: lua.muslVersion },
      });
    });
  },
  muslLua,
);

/** With a database as apk writes it; apk itself is not run. */
function addAlpine(root: Root, busybox: Uint8Array, lua: MuslLua): void {
  root.file("/bin/busybox", busybox, 0o755);
  for (const name of ["sh", "ash"]) root.link(`/bin/${name}`, "/bin/busybox");
  root.file(`/lib/ld-musl-${thisArch}.so.1`, readFileSync(lua.loader), 0o755);
  root.link(`/lib/libc.musl-${thisArch}.so.1`, `ld-musl-${thisArch}.so.1`);
  root.file("/usr/bin/lua5.4", readFileSync(lua.program), 0o755);
  root.link("/usr/bin/lua", "lua5.4");
  root.file("/sbin/apk", "#!/bin/sh\nexit 99\n", 0o755);
  root.file(
    "/etc/os-release",
    'NAME="Alpine Linux"\nID=alpine\nVERSION_ID=3.20.3\nPRETTY_NAME="Alpine Linux v3.20"\n',
  );
  const installed = {
    musl: `${lua.muslVersion}-r1`,
    "apk-tools": "2.14.4-r0",
    busybox: "1.36.1-r29",
  };
  const entries = Object.entries(installed).map(
    ([name, version]) =>
      `C:Q1AAAAAAAAAAAAAAAAAAAAAAAAAAA=\nP:${name}\nV:${version}\nA:${thisArch}\n\n`,
  );
  root.file("/lib/apk/db/installed", entries.join(""));
}
