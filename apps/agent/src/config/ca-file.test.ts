import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TestAuthority } from "@fleet/daemon/testing";
import { readCaFile } from "./ca-file.ts";

let dir: string;
let path: string;

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "ca-file-"));
  path = join(dir, "ca.pem");
});

afterAll(() => rmSync(dir, { recursive: true }));

const [one, two] = [new TestAuthority("One").cert.trim(), new TestAuthority("Two").cert.trim()];

test("the certificates of a bundle are read, without the text between them", () => {
  writeFileSync(path, `# One\n${one}\nsome words\n${two}\n`);
  expect(readCaFile(path)).toEqual({ at: "ok", ca: `${one}\n${two}` });
});

test.each([
  ["a file that is not there", undefined, "can't be read: ENOENT"],
  ["an empty one", "", " holds no certificate in PEM"],
  ["a key", new TestAuthority().issue().key, " holds no certificate in PEM"],
  ["half a certificate", one.slice(0, 200), " holds no certificate in PEM"],
  [
    "one damaged among others",
    `${one}\n${two.replace(/\n.{20}/, "\n")}`,
    ": certificate 2 in it is damaged",
  ],
])("%s is named with what is wrong", (_what, text, problem) => {
  rmSync(path, { force: true });
  if (text !== undefined) writeFileSync(path, text);
  const read = readCaFile(path);
  expect(read.at).toBe("bad");
  if (read.at === "bad") {
    expect(read.problem).toStartWith(path);
    expect(read.problem).toContain(problem);
  }
});
