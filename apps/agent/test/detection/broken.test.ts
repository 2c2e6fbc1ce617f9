/** Detects broken interpreters: each is reported with its problem, and no process or file is left behind. (A4) */
import { beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { busybox } from "../roots/kinds.ts";
import { describeRoots, type Machine } from "../roots/machine.ts";
import { fetchPackages, type Packages } from "../roots/packages.ts";
import { type Arch, thisArch } from "../roots/processor.ts";
import { NOBODY, type Root } from "../roots/root.ts";
import { useSurroundings } from "../roots/surroundings.ts";
import { detect, named, rejections, type Report, working } from "./seen.ts";

const otherArch: Arch = thisArch === "x86_64" ? "aarch64" : "x86_64";
const APPLETS = ["echo", "printf", "rm", "sleep", "yes"];
/** The second directory contains another file of the same name. */
const [FIRST, SECOND, THIRD] = ["/first", "/second", "/third"];
const PATH = `${FIRST}:${SECOND}:${THIRD}:/bin`;

/** A broken interpreter and its expected report; `reason` is a part of the reason. */
interface Case {
  readonly what: string;
  readonly path: string;
  readonly put: (root: Root, path: string) => void;
  readonly code: string;
  readonly reason: string;
}

function script(text: string, mode = 0o755) {
  return (root: Root, path: string) => root.file(path, `#!/bin/sh\n${text}\n`, mode);
}

/** A program for this machine's processor and for the other one, each with a loader that does not exist here. */
function cases(dash: Uint8Array, foreignDash: Uint8Array): readonly Case[] {
  return [
    {
      what: "one that hangs, will not be terminated, and has a child that does the same",
      path: `${FIRST}/python3`,
      put: script("trap '' TERM HUP INT\nsleep 1000 &\nwhile :; do sleep 1000; done"),
      code: "timeout",
      reason: "",
    },
    {
      what: "one that answers in bytes that are no text, and steers the terminal",
      path: `${SECOND}/python3`,
      put: script("printf '\\377\\376\\033[31mPython\\033]0;title\\007\\000 x\\n'"),
      code: "no_version",
      reason: "Python",
    },
    {
      what: "one that crashes",
      path: `${FIRST}/node`,
      put: script("kill -SEGV $$"),
      code: "crashed",
      reason: "SIGSEGV",
    },
    {
      what: "one that floods",
      path: `${FIRST}/ruby`,
      put: script("yes ruby"),
      code: "flood",
      reason: "",
    },
    {
      what: "a script that may be run but not read",
      path: `${FIRST}/perl`,
      put: script("echo", 0o711),
      code: "failed",
      reason: "Permission denied",
    },
    {
      what: "one that may not be run",
      path: `${SECOND}/perl`,
      put: script("echo", 0o644),
      code: "not_executable",
      reason: "",
    },
    {
      what: "one behind a directory that may not be entered",
      path: `${SECOND}/lua`,
      put: (root, path) => {
        root.directory("/closed", 0o700);
        root.link(path, "/closed/lua");
      },
      code: "unreadable",
      reason: "",
    },
    {
      what: "a directory",
      path: `${FIRST}/php`,
      put: (root, path) => root.directory(path),
      code: "directory",
      reason: "",
    },
    {
      what: "a loop of links",
      path: `${FIRST}/lua`,
      put: (root, path) => {
        root.link(path, "lua-too");
        root.link(`${path}-too`, "lua");
      },
      code: "symlink_loop",
      reason: "",
    },
    {
      what: "a link to nowhere",
      path: `${FIRST}/go`,
      put: (root, path) => root.link(path, "/usr/local/go/bin/go"),
      code: "dangling_link",
      reason: "/usr/local/go/bin/go",
    },
    {
      what: "a FIFO",
      path: `${FIRST}/Rscript`,
      put: (root, path) => root.node(path, ["p"]),
      code: "not_a_file",
      reason: "",
    },
    {
      what: "a device",
      path: `${FIRST}/java`,
      put: (root, path) => root.node(path, ["c", "1", "3"]),
      code: "not_a_file",
      reason: "",
    },
    {
      what: "one for another processor",
      path: `${FIRST}/bun`,
      put: (root, path) => root.file(path, foreignDash, 0o755),
      code: "foreign_arch",
      reason: otherArch,
    },
    {
      what: "one whose loader is not here",
      path: `${FIRST}/dotnet`,
      put: (root, path) => root.file(path, dash, 0o755),
      code: "loader_missing",
      reason: "/ld-linux-",
    },
    {
      what: "half of a program",
      path: `${SECOND}/dotnet`,
      put: (root, path) => root.file(path, dash.subarray(0, 40), 0o755),
      code: "bad_format",
      reason: "",
    },
    {
      what: "one that answers for another language",
      path: `${FIRST}/elixir`,
      put: script("echo Python 3.11.2"),
      code: "impostor",
      reason: "python",
    },
    {
      what: "something that is no program",
      path: `${FIRST}/pwsh`,
      put: (root, path) => root.file(path, "PowerShell 7.4.1\n", 0o755),
      code: "bad_format",
      reason: "",
    },
    {
      what: "an empty file",
      path: `${SECOND}/pwsh`,
      put: (root, path) => root.file(path, "", 0o755),
      code: "bad_format",
      reason: "",
    },
    {
      what: "a script whose interpreter is not here",
      path: `${FIRST}/octave-cli`,
      put: (root, path) => root.file(path, "#!/usr/bin/octave-launcher\n", 0o755),
      code: "script_interpreter_missing",
      reason: "/usr/bin/octave-launcher",
    },
    {
      what: "one that fails",
      path: `${SECOND}/octave-cli`,
      put: script("echo no display >&2\nexit 3"),
      code: "failed",
      reason: "no display",
    },
  ];
}

await describeRoots(
  "a root of broken things",
  thisArch,
  ({ packages, ...machine }: Machine, foreign: Packages) => {
    const surroundings = useSurroundings({ packages, ...machine });
    const dash = (from: Packages): Uint8Array => readFileSync(from.file("dash", "bin/dash"));
    const all = cases(dash(packages), dash(foreign));
    let root: Root;
    let report: Report;
    beforeAll(async () => {
      root = surroundings.plain("broken");
      busybox.populate(root, surroundings.stock);
      for (const applet of APPLETS) root.link(`/bin/${applet}`, "busybox");
      for (const dir of [FIRST, SECOND, THIRD]) root.directory(dir, 0o755, NOBODY);
      for (const { path, put } of all) put(root, path);
      script("echo Python 3.11.2")(root, `${THIRD}/python3`);
      script('rm "$0"\necho deno 1.2.3')(root, `${FIRST}/deno`);
      script("(sleep 1000 &)\necho v20.11.0")(root, `${SECOND}/node`);
      report = await detect(root, { env: { PATH } });
    });

    describe("is told apart and reported:", () => {
      test.each(all.map((one) => [one.what, one] as const))("%s (A4)", (_what, one) => {
        const { path, code, reason } = one;
        const found = rejections(report).filter((rejection) => rejection.path === path);
        expect(found).toMatchObject([{ path, code }]);
        expect(found[0]!.reason).toContain(reason);
        // Printable, in one line.
        expect(found[0]!.reason).toMatch(/^[^\p{C}]+$/u);
      });
    });

    test("nothing else is rejected (A4)", () => {
      const paths = rejections(report)
        .map(({ path }) => path)
        .filter((path) => path !== `${FIRST}/deno`);
      expect(paths.toSorted()).toEqual(all.map(({ path }) => path).toSorted());
    });

    test("one that works is found behind those that do not (A4)", () => {
      expect(working(report, "python")).toMatchObject({
        path: `${THIRD}/python3`,
        version: "3.11.2",
        also: [],
      });
      expect(working(report, "shell")).toMatchObject({ real_path: "/bin/busybox" });
    });

    test("one that leaves a child with its output behind is taken at its word (A4)", () => {
      expect(working(report, "node")).toMatchObject({
        path: `${SECOND}/node`,
        version: "20.11.0",
      });
    });

    test("one that deletes itself is not offered to anybody (A4)", () => {
      expect(named(report, "deno")).toMatchObject({
        verdict: "broken",
        rejected: [{ path: `${FIRST}/deno` }],
      });
      expect(report.resolved.runtimes).toEqual(["shell", "python", "node"]);
    });

    test("nothing that was run is left (A4)", () => {
      expect(root.processes()).toEqual([]);
    });
  },
  async () => fetchPackages(otherArch),
);
