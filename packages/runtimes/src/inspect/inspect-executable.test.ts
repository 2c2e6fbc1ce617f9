import { expect, test } from "bun:test";
import { chmodSync, realpathSync } from "node:fs";
import { inspectExecutable } from "./inspect-executable.ts";
import { FileObserver } from "./file-observer.ts";
import type { Rejection } from "../image-report.ts";
import { makeElf, makeTestImage } from "../test-image.ts";

const HOST = process.arch;

function inspect(path: string, hostArch: string = HOST) {
  return inspectExecutable(path, { observer: new FileObserver({}, 0), hostArch });
}
const FOREIGN_MACHINE = 22;

function rejection(path: string, hostArch: string = HOST): Rejection | undefined {
  const inspection = inspect(path, hostArch);
  return inspection.at === "rejected" ? inspection.rejection : undefined;
}

test("A4: the shell of this machine is viable", () => {
  const inspection = inspect("/bin/sh");
  expect(inspection).toMatchObject({
    at: "viable",
    executable: { path: "/bin/sh", realPath: realpathSync("/bin/sh"), format: "elf" },
  });
});

test("A4: a missing file, or one below a file, is absent", () => {
  using image = makeTestImage();
  image.file("plain", "x");
  expect(inspect(`${image.dir}/python3`).at).toBe("absent");
  expect(inspect(`${image.dir}/plain/python3`).at).toBe("absent");
});

test("A4: the reason for a dangling link names the end of the chain", () => {
  using image = makeTestImage();
  image.link("python3", "/nowhere/python3.12");
  const path = image.link("python", "python3");
  expect(rejection(path)).toEqual({
    path,
    real_path: null,
    code: "dangling_link",
    reason: "links to /nowhere/python3.12, which does not exist",
  });
});

test("A4: a loop of links is rejected", () => {
  using image = makeTestImage();
  const path = image.link("python3", "python");
  image.link("python", "python3");
  expect(rejection(path)).toMatchObject({ code: "symlink_loop" });
});

test("A4: a directory, a device and a file without the x bit are rejected", () => {
  using image = makeTestImage();
  expect(rejection(image.directory("python3"))).toMatchObject({ code: "directory" });
  expect(rejection(image.link("node", "/dev/null"))).toMatchObject({ code: "not_a_file" });
  expect(rejection(image.file("ruby", "#!/bin/sh\n"))).toMatchObject({ code: "not_executable" });
});

test("A4: the reason for a foreign program names both architectures", () => {
  using image = makeTestImage();
  const path = image.file("python3", makeElf({ machine: FOREIGN_MACHINE, bigEndian: true }), 0o755);
  expect(rejection(path, "x64")).toMatchObject({
    code: "foreign_arch",
    reason: "is a program for s390x, but this machine is x86_64",
  });
  expect(rejection(path, "arm64")?.reason).toContain("this machine is aarch64");
});

test("A4: the reason for a missing loader names it", () => {
  using image = makeTestImage();
  const machine = HOST === "arm64" ? 183 : 62;
  const path = image.file(
    "python3",
    makeElf({ machine, loader: "/nowhere/ld-musl-x.so.1" }),
    0o755,
  );
  expect(rejection(path)).toMatchObject({
    code: "loader_missing",
    reason: "needs the loader /nowhere/ld-musl-x.so.1, which is not in this image",
  });
});

test("A4: a script is rejected if its own interpreter is missing", () => {
  using image = makeTestImage();
  const path = image.file("pip", "#! /nowhere/python3.9 -s\n", 0o755);
  expect(rejection(path)).toMatchObject({
    code: "script_interpreter_missing",
    reason: "is a script for /nowhere/python3.9, which is not in this image",
  });
  const good = image.script("good", "");
  expect(inspect(good)).toMatchObject({
    at: "viable",
    executable: { format: "script", libc: null, arch: null },
  });
});

test("A4: text, an empty file and a truncated program are rejected", () => {
  using image = makeTestImage();
  for (const [name, content] of [
    ["text", "hello"],
    ["empty", ""],
    ["cut", "\x7fELF"],
  ] as const) {
    expect(rejection(image.file(name, content, 0o755))).toMatchObject({ code: "bad_format" });
  }
});

test("A4: a reason has no control characters, even if a link's target has", () => {
  using image = makeTestImage();
  expect(rejection(image.link("python3", "/no\u001b[31mwhere\n"))?.reason).toBe(
    "links to /no [31mwhere , which does not exist",
  );
});

test.skipIf(process.getuid?.() === 0)(
  "A4: a program that can be run but not read is viable",
  () => {
    using image = makeTestImage();
    const path = image.script("python3", "");
    chmodSync(path, 0o111);
    expect(inspect(path)).toMatchObject({
      at: "viable",
      executable: { format: "unreadable" },
    });
  },
);
