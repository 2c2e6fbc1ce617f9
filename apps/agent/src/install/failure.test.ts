import { expect, test } from "bun:test";
import { EXIT_CONFIG, EXIT_SUPERSEDED, EXIT_USAGE } from "../cli/exit-codes.ts";
import { type FailureCode, failureOf, FAILURES, InstallError, type Place } from "./failure.ts";

const MIB = 1024 ** 2;
const PLACE: Place = {
  dir: "/fleet",
  neededBytes: 110 * MIB,
  freeBytes: 12 * MIB,
  owner: { path: "/fleet", uid: 7, mode: 0o755 },
  ourUid: 65534,
};

function failure(errno: string, place = PLACE): InstallError {
  return failureOf(Object.assign(new Error(`${errno}: told so`), { code: errno }), place);
}

test("every failure has an exit code of its own, taken by nothing else", () => {
  const codes = Object.values(FAILURES).map(({ exit }) => exit);
  expect(new Set(codes).size).toBe(codes.length);
  for (const taken of [0, 1, EXIT_USAGE, EXIT_SUPERSEDED, EXIT_CONFIG])
    expect(codes).not.toContain(taken as 66);
  // Codes from 126 on belong to shells, the loader and signals.
  expect(Math.max(...codes)).toBeLessThan(126);
});

const TABLE: readonly [string, FailureCode, string][] = [
  ["ENOENT", "no_directory", "does not exist"],
  ["ENOTDIR", "no_directory", "not a directory"],
  ["ELOOP", "no_directory", "not a directory"],
  ["ENAMETOOLONG", "no_directory", "not a directory"],
  ["EISDIR", "target_is_directory", "/fleet/fleet-agent is a directory"],
  ["EACCES", "permission", "belongs to uid 7 (mode 0755) and can't be written by uid 65534"],
  ["EPERM", "permission", "belongs to uid 7 (mode 0755) and can't be written by uid 65534"],
  ["EROFS", "read_only", "read-only file system"],
  ["ENOSPC", "no_space", "110.0 MiB are needed, 12.0 MiB free"],
  ["EDQUOT", "no_space", "the quota of uid 65534"],
  ["EFBIG", "no_space", "ulimit -f"],
  ["EIO", "io", "EIO: told so"],
  ["EMFILE", "io", "EMFILE: told so"],
];

test.each(TABLE)("%s is %s", (errno, code, text) => {
  const error = failure(errno);
  expect(error.code).toBe(code);
  expect(error.exitCode).toBe(FAILURES[code].exit);
  expect(error.message).toStartWith("/fleet");
  expect(error.message).toContain(text);
  expect(error.message).not.toContain("\n");
});

test("unknown facts are left out of the message", () => {
  expect(failure("EACCES", { ...PLACE, owner: undefined }).message).toStartWith(
    "/fleet can't be reached by uid 65534;",
  );
  expect(failure("ENOSPC", { ...PLACE, freeBytes: undefined }).message).toContain(
    "110.0 MiB are needed, fewer free",
  );
});

test("a message is one line, whatever its parts contain", () => {
  expect(new InstallError("io", "a\nb\r\n  c").message).toBe("a b c");
});
