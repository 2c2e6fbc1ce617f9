import { expect, test } from "bun:test";
import { imageFacts, parseOsRelease } from "./image-facts.ts";

test("os-release is parsed with its quoting", () => {
  expect(
    parseOsRelease('PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n'),
  ).toEqual({
    id: "debian",
    version: "12",
    pretty_name: "Debian GNU/Linux 12 (bookworm)",
  });
  expect(parseOsRelease("# comment\nNAME='Alpine \\$ Linux'\nID=alpine\n")).toEqual({
    id: "alpine",
    version: null,
    pretty_name: "Alpine $ Linux",
  });
});

test("an image without a name and an id has no os", () => {
  expect(parseOsRelease("")).toBeNull();
  expect(parseOsRelease("VERSION_ID=1\n")).toBeNull();
});

test("this machine has a kernel, an architecture and a user", () => {
  const facts = imageFacts("/bin");
  expect(facts.kernel).toMatch(/^\d+\./);
  expect(facts).toMatchObject({
    arch: process.arch === "arm64" ? "aarch64" : "x86_64",
    uid: process.getuid?.(),
    path: "/bin",
  });
});
