/** `fleet-agent install` as an init container runs it: the built static file, real volumes, real kills. (A1, A2) */
import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  closeSync,
  copyFileSync,
  mkdirSync,
  openSync,
  readlinkSync,
  statSync,
  writeSync,
} from "node:fs";
import { AGENT, ended, hasChild, PROGRAM, Volume } from "./installer.ts";

const OLD = "#!/bin/sh\necho old\n";
const isRoot = process.getuid?.() === 0;
/** In CI a test that can't run fails. */
const skipsRootTests = !isRoot && process.env["CI"] !== "true";
if (skipsRootTests) console.warn("install: mounts and other uids are not tested: needs root");
const asRoot = test.skipIf(skipsRootTests);

let volume: Volume;

beforeEach(() => {
  volume = new Volume();
});

afterEach(() => volume.close());

/** Runs a shell script in its own mount namespace, so that its mounts end with it; $1 is the volume, $2 the agent. */
function inNamespace(script: string) {
  const unshare = ["/usr/bin/unshare", "--mount", "--propagation", "private"];
  const path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin; export PATH";
  return ended(
    volume.spawn([...unshare, "/bin/sh", "-ec", `${path}\n${script}`, "sh", volume.dir, AGENT]),
  );
}

/** Matches stderr that is one line with this text. */
function oneLine(start: string): string {
  const literal = start.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return expect.stringMatching(new RegExp(`^fleet-agent: ${literal}[^\n]*\n$`)) as string;
}

const AS_NOBODY = "setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set -all env -i";

test("an install says in one line what is where; a second one changes nothing", async () => {
  const first = await ended(volume.install());
  expect([first.exit, first.stderr]).toEqual([0, ""]);
  expect(first.stdout).toMatch(
    new RegExp(
      `^installed ${volume.target}: version \\S+, [0-9.]+ MiB, sha256 ${PROGRAM.sha256.slice(0, 12)}\n$`,
    ),
  );
  expect(volume.found()).toBe("the program");
  expect(volume.files()).toEqual(["fleet-agent"]);
  const before = statSync(volume.target, { bigint: true });
  expect(before.mode & 0o7777n).toBe(0o755n);

  const second = await ended(volume.install("--json"));
  expect(JSON.parse(second.stdout)).toMatchObject({
    status: "already_installed",
    path: volume.target,
    bytes: PROGRAM.bytes,
    sha256: PROGRAM.sha256,
    mode: "0755",
  });
  const after = statSync(volume.target, { bigint: true });
  expect([after.ino, after.ctimeNs]).toEqual([before.ino, before.ctimeNs]);

  // The installed program can install itself, too.
  expect((await ended(volume.spawn([volume.target, "install", volume.dir]))).stdout).toStartWith(
    "already installed",
  );
});

test("ten at once all succeed, and a reader never finds anything but the old or the whole new one", async () => {
  volume.put(OLD);
  const children = Array.from({ length: 10 }, () => volume.install());
  const seen = new Set<string>();
  while (children.some(({ exitCode }) => exitCode === null)) {
    seen.add(volume.found());
    await new Promise((resolve) => setImmediate(resolve));
  }
  const all = await Promise.all(children.map(ended));
  for (const { exit, stderr } of all) expect([exit, stderr]).toEqual([0, ""]);
  expect([...seen, "the program"]).not.toContain("something else");
  expect([...seen]).not.toContain("nothing");
  expect(volume.files()).toEqual(["fleet-agent"]);
  expect(volume.found()).toBe("the program");
});

const EIGHTHS = [0, 1, 2, 3, 4, 5, 6, 7, 8];
const POINTS: readonly [string, (pid: number) => boolean][] = [
  ["at its start", () => true],
  ...EIGHTHS.map((n): [string, () => boolean] => [
    `with ${n}/8 copied`,
    () => volume.stagedBytes() >= (PROGRAM.bytes * n) / 8,
  ]),
  ["while the copy runs", (pid) => volume.staged().length > 0 && hasChild(pid)],
  ["once the target is there", () => volume.targetBytes() === PROGRAM.bytes],
];

for (const before of ["nothing", OLD])
  test.each(POINTS)(
    `killed %s over ${before === OLD ? "an old file" : "nothing"}: no half file, and the next run cleans up`,
    async (_what, isNow) => {
      const child = await volume.killed(isNow, () => {
        if (before === OLD) volume.put(OLD);
      });
      expect(child.signalCode).toBe("SIGKILL");
      expect([before, "the program"]).toContain(volume.found());
      expect(volume.files().length).toBeLessThanOrEqual(2);

      expect(await ended(volume.install())).toMatchObject({ exit: 0, stderr: "" });
      expect(volume.found()).toBe("the program");
      expect(volume.files()).toEqual(["fleet-agent"]);
    },
  );

test("a run leaves the file of another living one alone, however slow that is", async () => {
  const slow = await volume.installHalf();
  const [staged] = volume.staged();
  expect(await ended(volume.install())).toMatchObject({ exit: 0, stderr: "" });
  expect(volume.found()).toBe("the program");
  expect(volume.staged()).toEqual([staged!]);
  slow.kill("SIGCONT");
  expect(await ended(slow)).toMatchObject({ exit: 0, stderr: "" });
  expect(volume.files()).toEqual(["fleet-agent"]);
});

test("a copy that somebody changed is found out and removed", async () => {
  volume.put(OLD);
  const child = await volume.installHalf();
  const fd = openSync(`${volume.dir}/${volume.staged()[0]!}`, "r+");
  writeSync(fd, "not an ELF file", 0);
  closeSync(fd);
  child.kill("SIGCONT");
  const { exit, stderr } = await ended(child);
  expect(exit).toBe(85);
  expect(stderr).toStartWith(`fleet-agent: ${volume.dir}: the copy differs when read back`);
  expect(volume.found()).toBe(OLD);
  expect(volume.files()).toEqual(["fleet-agent"]);
});

test.each([
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGHUP", 129],
] as const)("told to stop by %s, it leaves nothing and ends with %d", async (signal, exit) => {
  const child = await volume.installHalf();
  child.kill(signal);
  child.kill("SIGCONT");
  expect(await ended(child)).toEqual({ exit, stdout: "", stderr: "" });
  expect(volume.files()).toEqual([]);
});

test("an old copy that runs is replaced and runs on", async () => {
  copyFileSync("/bin/sleep", volume.target);
  const old = volume.spawn([volume.target, "1000"]);
  expect(() => openSync(volume.target, "r+")).toThrow("ETXTBSY");
  expect((await ended(volume.install())).exit).toBe(0);
  expect(volume.found()).toBe("the program");
  expect(readlinkSync(`/proc/${old.pid}/exe`)).toBe(`${volume.target} (deleted)`);
  expect(old.exitCode).toBeNull();
});

test("what is in the way is named in one line, with an exit code of its own", async () => {
  const missing = `${volume.dir}/missing`;
  expect(await ended(volume.spawn([AGENT, "install", missing]))).toMatchObject({
    exit: 66,
    stderr: oneLine(`${missing} does not exist`),
  });
  expect(await ended(volume.spawn([AGENT, "install", "/proc/self/status"]))).toMatchObject({
    exit: 66,
    stderr: oneLine("/proc/self/status is not a directory"),
  });
  expect(await ended(volume.spawn([AGENT, "install"]))).toMatchObject({ exit: 64 });
  expect(volume.files()).toEqual([]);
  mkdirSync(volume.target);
  expect(await ended(volume.install())).toMatchObject({
    exit: 73,
    stderr: oneLine(`${volume.target} is a directory`),
  });
});

test("a limit on file sizes is no space, not a death by signal", async () => {
  const limited = `ulimit -f 65536 && exec "$2" install "$1"`;
  const child = volume.spawn(["/bin/sh", "-c", limited, "sh", volume.dir, AGENT]);
  expect(await ended(child)).toMatchObject({
    exit: 81,
    stderr: oneLine(`${volume.dir}: a file of`),
  });
  expect(volume.files()).toEqual([]);
});

const MOUNTS: readonly [string, number, string, string][] = [
  [
    "mounted noexec",
    82,
    'mount -t tmpfs -o noexec none "$1"',
    "is mounted noexec; mount it without noexec, or use another volume",
  ],
  [
    "without space",
    81,
    'mount -t tmpfs -o size=32m none "$1"',
    "has no space: [0-9.]+ MiB are needed, 32.0 MiB free; [^\n]*",
  ],
  [
    "without inodes",
    81,
    'mount -t tmpfs -o nr_inodes=1 none "$1"',
    "has no space: [^\n]*or inodes[^\n]*",
  ],
  [
    "read-only",
    80,
    'mount --bind "$1" "$1"; mount -o remount,ro,bind "$1"',
    "is on a read-only file system; mount the volume writable here",
  ],
];

asRoot.each(MOUNTS)(
  "a volume %s: exit %d, one line, nothing left",
  async (_what, exit, mount, line) => {
    const { stdout, stderr } = await inNamespace(
      `${mount}\n"$2" install "$1" || echo "exit $?"\nls -A "$1"`,
    );
    expect(stdout).toBe(`exit ${exit}\n`);
    expect(stderr).toMatch(new RegExp(`^fleet-agent: ${volume.dir} ${line}\n$`));
  },
);

asRoot("a read-only volume that has it already is all right", async () => {
  const { stdout } = await inNamespace(
    `"$2" install "$1"; mount --bind "$1" "$1"; mount -o remount,ro,bind "$1"; "$2" install "$1"`,
  );
  expect(stdout.split("\n").map((line) => line.split(" /")[0])).toEqual([
    "installed",
    "already installed",
    "",
  ]);
});

asRoot("somebody else's directory: the line names both uids", async () => {
  const { exit, stderr } = await inNamespace(
    `mount -t tmpfs -o uid=7,mode=755 none "$1"; exec ${AS_NOBODY} "$2" install "$1"`,
  );
  expect(exit).toBe(77);
  expect(stderr).toMatch(
    /^fleet-agent: \S+ belongs to uid 7 \(mode 0755\) and can't be written by uid 65534;[^\n]*\n$/,
  );
});

asRoot("somebody else's file in a sticky directory is named, and stays", async () => {
  const { stdout, stderr } = await inNamespace(
    `mount -t tmpfs -o mode=1777 none "$1"; echo old >"$1/fleet-agent"
     ${AS_NOBODY} "$2" install "$1" || echo "exit $?"; ls -A "$1"; cat "$1/fleet-agent"`,
  );
  expect(stdout).toBe("exit 77\nfleet-agent\nold\n");
  expect(stderr).toContain(`${volume.target} belongs to uid 0`);
});

asRoot("uid 65534, no HOME, a read-only root with nothing but /proc and the volume", async () => {
  const { exit, stdout, stderr } = await inNamespace(
    `mount -t tmpfs none "$1"; cd "$1"; mkdir proc fleet; mount -t proc proc proc
     mount -t tmpfs -o uid=65534,mode=700 none fleet; cp "$2" agent
     mount -o remount,ro "$1"
     in_root="env -i $(command -v chroot) --userspec 65534:65534 ."
     for run in 1 2; do $in_root /agent install /fleet; done
     ls -A fleet; exec $in_root /fleet/fleet-agent --version`,
  );
  expect([exit, stderr]).toEqual([0, ""]);
  expect(stdout).toMatch(
    /^installed \/fleet\/fleet-agent: [^\n]+\nalready installed \/fleet\/fleet-agent: [^\n]+\nfleet-agent\n\S+\n$/,
  );
});
