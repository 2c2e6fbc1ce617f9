/**
 * Runs the coordinator's `install.sh` as a node does: in dash and busybox sh, with curl, GNU wget and busybox wget, and with
 * nothing else on PATH. Downloads a small script instead of the agent.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ENROLL_TOKEN, Fleet, until } from "../rig/fleet.ts";
import {
  ARCH,
  changingProxy,
  isMissing,
  type Kit,
  KITS,
  LARGE_BYTES,
  mount,
  toolsOf,
  truncatingServer,
} from "./kits.ts";

const AGENT = "#!/bin/sh\n# // fleet-version 1.2.3\necho 1.2.3\n";
const HOUR_AGO_S = 3700;
const CUTS = 25;

interface Result {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

let fleet: Fleet;
let script: string;
let agents: string;
let top: string;
let target: string;

beforeAll(async () => {
  fleet = new Fleet();
  agents = join(fleet.dir, "agents");
  mkdirSync(join(agents, ARCH), { recursive: true });
  await fleet.coordinator({ agent_binaries: agents });
  script = join(fleet.dir, "install.sh");
  writeFileSync(script, await (await fetch(`${url()}/install.sh`)).text());
});
afterAll(() => fleet.close());

beforeEach(() => {
  top = mkdtempSync(join(tmpdir(), "install-sh-"));
  target = join(top, "fleet", "fleet-agent");
  offer(AGENT);
});
afterEach(() => rmSync(top, { recursive: true, force: true }));

const url = (): string => `http://127.0.0.1:${fleet.ports.http}`;
const sha256 = (content: string | Buffer): string =>
  createHash("sha256").update(content).digest("hex");

function offer(content: string | Buffer): void {
  writeFileSync(join(agents, "new"), content);
  renameSync(join(agents, "new"), join(agents, ARCH, "fleet-agent"));
}

/** A working program, padded to be large. */
function largeAgent(): Buffer {
  return Buffer.concat([Buffer.from(`${AGENT}exit 0\n`), Buffer.alloc(LARGE_BYTES, "\n")]);
}

function start(
  kit: Kit,
  options: {
    readonly args?: readonly string[];
    readonly env?: Record<string, string>;
    readonly tools?: readonly string[];
  } = {},
): Bun.Subprocess<"ignore", "pipe", "pipe"> {
  const { args = ["--dir", join(top, "fleet")], env = {}, tools } = options;
  const shell = kit.shell === "busybox" ? [Bun.which("busybox")!, "sh"] : [Bun.which(kit.shell)!];
  return Bun.spawn([...shell, script, ...args], {
    cwd: top,
    env: {
      PATH: toolsOf(top, kit, tools ?? [kit.client, "sha256sum"]),
      FLEET_ENROLL_TOKEN: ENROLL_TOKEN,
      ...env,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
}

async function resultOf(child: Bun.Subprocess<"ignore", "pipe", "pipe">): Promise<Result> {
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { code, out, err };
}

const run = (...args: Parameters<typeof start>): Promise<Result> => resultOf(start(...args));

/** Matches a text that contains `part`. */
const containing = (part: string): string => expect.stringContaining(part) as string;

/** The files in the directory besides the agent. None may remain. */
const leftIn = (dir: string): string[] => readdirSync(dir).filter((n) => n !== "fleet-agent");

for (const kit of KITS) {
  describe.skipIf(isMissing(kit))(`install.sh in ${kit.name} (H8)`, () => {
    test("installs the agent, executable, and a second run changes nothing", async () => {
      const first = await run(kit);
      expect(first).toEqual({
        code: 0,
        out: `installed ${target}: version 1.2.3, ${AGENT.length} bytes, sha256 ${sha256(AGENT)}\n`,
        err: "",
      });
      expect([readFileSync(target, "utf8"), statSync(target).mode & 0o777]).toEqual([AGENT, 0o755]);
      const { ino } = statSync(target);
      const again = await run(kit);
      expect(again).toEqual({
        code: 0,
        out: `already installed ${target}: sha256 ${sha256(AGENT)}\n`,
        err: "",
      });
      expect([statSync(target).ino, leftIn(join(top, "fleet"))]).toEqual([ino, []]);
    });

    test("replaces another version atomically", async () => {
      await run(kit);
      offer(largeAgent());
      expect(await run(kit)).toMatchObject({ code: 0, err: "" });
      expect(sha256(readFileSync(target))).toBe(sha256(largeAgent()));
    });

    test("also reads the token from a file, and never puts it on a command line", async () => {
      using server = truncatingServer("wait");
      const file = join(top, "token");
      writeFileSync(file, `${ENROLL_TOKEN}\n`);
      const env = { FLEET_ENROLL_TOKEN: "", FLEET_ENROLL_TOKEN_FILE: file };
      const child = start(kit, { env: { ...env, FLEET_COORDINATOR_URL: server.url } });
      await until("the download is under way", () => server.isAsked);
      const lines = readdirSync("/proc")
        .filter((name) => /^\d+$/.test(name))
        .map((pid) => {
          try {
            return readFileSync(`/proc/${pid}/cmdline`, "utf8");
          } catch {
            return ""; // The process has ended.
          }
        });
      expect(lines.some((line) => line.includes(server.url))).toBe(true);
      expect(lines.filter((line) => line.includes(ENROLL_TOKEN))).toEqual([]);
      child.kill("SIGTERM");
      expect(await child.exited).toBe(143);
      expect(await run(kit, { env })).toMatchObject({ code: 0 });
    });

    test("refuses a download whose sha256 differs, and keeps the old agent", async () => {
      await run(kit);
      offer(`${AGENT}# new\n`);
      await using flipping = changingProxy(url(), "/api/v1/agent/binary", async (answer) => {
        const bytes = new Uint8Array(await answer.arrayBuffer());
        bytes[0]! ^= 1;
        return new Response(bytes);
      });
      const { code, err } = await run(kit, { env: { FLEET_COORDINATOR_URL: flipping.url } });
      expect([code, err]).toEqual([85, containing("sha256 of the download is")]);
      expect([readFileSync(target, "utf8"), leftIn(join(top, "fleet"))]).toEqual([AGENT, []]);
    });

    test("reports a truncated download, and keeps the old agent", async () => {
      await run(kit);
      using server = truncatingServer("close");
      const { code } = await run(kit, { env: { FLEET_COORDINATOR_URL: server.url } });
      expect(code).toBe(69);
      expect([readFileSync(target, "utf8"), leftIn(join(top, "fleet"))]).toEqual([AGENT, []]);
    });

    test("exits and cleans up on a signal; after SIGKILL the old agent is intact, and a later run cleans up", async () => {
      await run(kit);
      const dir = join(top, "fleet");
      for (const [signal, code] of [
        ["SIGTERM", 143],
        ["SIGINT", 130],
        ["SIGHUP", 129],
        ["SIGKILL", 137],
      ] as const) {
        using server = truncatingServer("wait");
        const child = start(kit, { env: { FLEET_COORDINATOR_URL: server.url } });
        await until("the download is under way", () => server.isAsked);
        child.kill(signal);
        expect(await child.exited).toBe(code);
        expect(readFileSync(target, "utf8")).toBe(AGENT);
        if (signal !== "SIGKILL") expect([signal, leftIn(dir)]).toEqual([signal, []]);
      }
      const [left] = leftIn(dir);
      expect(statSync(join(dir, left!)).mode & 0o777).toBe(0o700);
      const longAgo = statSync(join(dir, left!)).mtimeMs / 1000 - HOUR_AGO_S;
      utimesSync(join(dir, left!), longAgo, longAgo);
      expect(await run(kit)).toMatchObject({ code: 0 });
      expect(leftIn(dir)).toEqual([]);
    });

    test("does nothing if the script itself is truncated, at any point", () => {
      const text = readFileSync(script, "utf8").trimEnd();
      const shell = kit.shell === "busybox" ? ["busybox", "sh"] : [kit.shell];
      const env = { PATH: toolsOf(top, kit, [kit.client]), FLEET_ENROLL_TOKEN: ENROLL_TOKEN };
      const lengths = [...Array(CUTS).keys()].flatMap((n) => [
        text.length - 1 - n,
        Math.floor((text.length * n) / CUTS),
      ]);
      for (const length of lengths) {
        const cut = Bun.spawnSync(
          [Bun.which(shell[0]!)!, ...shell.slice(1), "-s", "--", "--dir", join(top, "fleet")],
          { cwd: top, env, stdin: Buffer.from(text.slice(0, length)) },
        );
        expect([length, cut.stdout.toString(), existsSync(join(top, "fleet"))]).toEqual([
          length,
          "",
          false,
        ]);
      }
    });

    test("two runs at once both succeed", async () => {
      offer(largeAgent());
      const both = await Promise.all([run(kit), run(kit)]);
      for (const { code, err } of both) expect([code, err]).toEqual([0, ""]);
      expect(sha256(readFileSync(target))).toBe(sha256(largeAgent()));
      expect(leftIn(join(top, "fleet"))).toEqual([]);
    });

    test("reports each problem with its own exit code", async () => {
      const file = join(top, "file");
      writeFileSync(file, "");
      mkdirSync(join(top, "taken", "fleet-agent"), { recursive: true });
      const cases: readonly (readonly [number, string, Parameters<typeof start>[1]])[] = [
        [64, "unknown argument: --help-me", { args: ["--help-me"] }],
        [64, "--dir needs a directory", { args: ["--dir"] }],
        [66, "is not a directory", { args: ["--dir", file] }],
        [69, "does not answer", { env: { FLEET_COORDINATOR_URL: "http://127.0.0.1:1" } }],
        // The busybox shell finds its own applets without PATH.
        ...(kit.isBusybox
          ? []
          : [[72, "neither curl nor wget", { tools: ["sha256sum"] }] as const]),
        [73, "is a directory", { args: ["--dir", join(top, "taken")] }],
        [78, "refuses the token", { env: { FLEET_ENROLL_TOKEN: "wrong" } }],
        [78, "refuses the token", { env: { FLEET_ENROLL_TOKEN: "" } }],
        [78, "the token contains a character", { env: { FLEET_ENROLL_TOKEN: 'a"\nb' } }],
        [78, "must begin with http://", { env: { FLEET_COORDINATOR_URL: "ftp://x" } }],
        [
          78,
          "contains an invalid character",
          { env: { FLEET_COORDINATOR_URL: "http://x/'$(id)" } },
        ],
      ];
      for (const [code, reason, options] of cases) {
        const result = await run(kit, options);
        expect([result.code, result.err]).toEqual([code, containing(reason)]);
        expect(result.err).toMatch(/^install\.sh: [^\n]+\n$/);
        expect(`${result.out}${result.err}`).not.toContain(ENROLL_TOKEN);
      }
    });

    test("distinguishes a missing agent, a busy coordinator and a foreign server", async () => {
      rmSync(join(agents, ARCH, "fleet-agent"));
      expect(await run(kit)).toMatchObject({ code: 83 });
      offer("#!/bin/sh\necho broken; exit 3\n");
      const broken = await run(kit);
      expect([broken.code, broken.err]).toEqual([70, containing("fails with exit code 3: broken")]);
      for (const [status, code] of [
        [503, 75],
        [500, 76],
      ] as const) {
        await using proxy = changingProxy(
          url(),
          "/api/v1/agent/info",
          () => new Response("", { status }),
        );
        const env = { FLEET_COORDINATOR_URL: proxy.url };
        expect(await run(kit, { env })).toMatchObject({ code });
      }
      await using foreign = changingProxy(
        url(),
        "/api/v1/agent/info",
        () => new Response("<html>"),
      );
      const env = { FLEET_COORDINATOR_URL: foreign.url };
      expect(await run(kit, { env })).toMatchObject({ code: 76 });
      expect(existsSync(target)).toBe(false);
    });

    test("checks the sha256 with shasum or openssl without sha256sum, or reports that it cannot", async () => {
      if (kit.isBusybox) return; // busybox has sha256sum.
      for (const tool of ["shasum", "openssl"]) {
        if (Bun.which(tool) === null) continue;
        rmSync(join(top, "fleet"), { recursive: true, force: true });
        const tools = [kit.client, tool, "perl"];
        expect(await run(kit, { tools })).toMatchObject({ code: 0, err: "" });
      }
      rmSync(join(top, "fleet"), { recursive: true, force: true });
      const { code, err } = await run(kit, { tools: [kit.client] });
      expect([code, err]).toEqual([72, containing("none of sha256sum")]);
    });

    test.skipIf(process.getuid!() !== 0)(
      "reports a full, read-only or noexec file system, and leaves nothing behind",
      async () => {
        const volume = join(top, "volume");
        mkdirSync(volume);
        offer(largeAgent());
        const args = ["--dir", volume];
        for (const [how, code] of [
          ["size=8m", 81],
          ["size=64m,ro", 80],
          ["size=64m,noexec", 82],
        ] as const) {
          mount(volume, how);
          try {
            expect([how, await run(kit, { args })]).toMatchObject([how, { code }]);
            expect(readdirSync(volume)).toEqual([]);
          } finally {
            Bun.spawnSync(["umount", volume]);
          }
        }
      },
    );

    test.skipIf(process.getuid!() !== 0)("runs as any user that may write there", async () => {
      chmodSync(top, 0o777);
      chmodSync(fleet.dir, 0o755);
      const asNobody = async (dir: string): Promise<Result> => {
        const shell = kit.shell === "busybox" ? "busybox sh" : kit.shell;
        const command = `exec ${shell} ${script} --dir ${dir}`;
        const env = {
          FLEET_ENROLL_TOKEN: ENROLL_TOKEN,
          PATH: toolsOf(top, kit, [kit.client, "sha256sum", kit.shell]),
        };
        chmodSync(script, 0o644);
        return resultOf(
          Bun.spawn([Bun.which("sh")!, "-c", command], {
            cwd: top,
            env,
            stdio: ["ignore", "pipe", "pipe"],
            uid: 65_534,
            gid: 65_534,
          }),
        );
      };
      expect(await asNobody(join(top, "own"))).toMatchObject({ code: 0, err: "" });
      expect(statSync(join(top, "own", "fleet-agent")).uid).toBe(65_534);
      const refused = await asNobody("/usr/fleet-test");
      expect([refused.code, refused.err]).toEqual([77, containing("uid 65534 cannot write to")]);
    });
  });
}

const FIRST = KITS[0]!;

test.skipIf(isMissing(FIRST))(
  "the real agent computes its own sha256 if no tool can (A3, H8)",
  async () => {
    symlinkSync(join(import.meta.dir, "../../../../dist/fleet-agent"), join(agents, "real"));
    renameSync(join(agents, "real"), join(agents, ARCH, "fleet-agent"));
    const { code, out, err } = await run(FIRST, { tools: [FIRST.client] });
    expect([code, err]).toEqual([0, ""]);
    expect(out).toStartWith(`installed ${target}: version `);
    expect(sha256(readFileSync(target))).toBe(
      sha256(readFileSync(join(agents, ARCH, "fleet-agent"))),
    );
    expect(leftIn(join(top, "fleet"))).toEqual([]);
  },
);
