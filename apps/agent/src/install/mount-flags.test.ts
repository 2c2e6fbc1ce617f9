import { expect, test } from "bun:test";
import { closeSync, openSync } from "node:fs";
import { isNoexec, mountIdOf, mountOptions } from "./mount-flags.ts";

const MOUNTINFO = `27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
41 27 0:30 / /fleet\\040volume rw,nosuid,noexec,relatime shared:3 - tmpfs none rw,size=1k
42 27 254:0 /x /bind rw,relatime - ext4 /dev/vda rw,noexec
`;

test("a mount's own options are found by its id", () => {
  expect(mountOptions(MOUNTINFO, "27")).toEqual(["rw", "relatime"]);
  expect(mountOptions(MOUNTINFO, "41")).toContain("noexec");
  expect(mountOptions(MOUNTINFO, "42")).not.toContain("noexec");
  expect(mountOptions(MOUNTINFO, "4")).toBeUndefined();
});

test("the id is read from the fdinfo of a descriptor", () => {
  expect(mountIdOf("pos:\t0\nflags:\t02100000\nmnt_id:\t41\nino:\t2\n")).toBe("41");
  expect(mountIdOf("pos:\t0\n")).toBeUndefined();
});

test("the kernel's own answer is understood", () => {
  const [proc, here] = [openSync("/proc", "r"), openSync(import.meta.path, "r")];
  expect(typeof isNoexec(proc)).toBe("boolean");
  expect(isNoexec(here)).toBe(false);
  closeSync(proc);
  closeSync(here);
  expect(isNoexec(here)).toBeUndefined();
});
