/**
 * Tests what a sensor receives and what it can reach, with the built agent as PID 1 of a container and a sensor that tries
 * everything. What is not prevented is asserted, too, so that docs/security.md can't become outdated unnoticed. (A10)
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Pid1, missingForPid1 } from "@fleet/static-elf/testing";
import { ENROLL_TOKEN, Outside } from "../roots/outside.ts";
import { until } from "../roots/root.ts";

const DIST = join(import.meta.dir, "../../../../dist");
const NOBODY = 65_534;
/** The user of the sensor, in the variants with one. */
const OTHER = 64_322;
const POWERLESS = ["--clear-groups", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"];
/** The capabilities that container runtimes leave to root; CAP_SYS_PTRACE is not among them. */
const OF_CONTAINERS =
  "chown,dac_override,fsetid,fowner,mknod,net_raw,setgid,setuid,setfcap,setpcap,net_bind_service,sys_chroot,kill,audit_write";
const AS_CONTAINER_ROOT = [
  "setpriv",
  `--bounding-set=-all,${OF_CONTAINERS.split(",")
    .map((cap) => `+${cap}`)
    .join(",")}`,
  "--inh-caps=-all",
];

const missing = [
  missingForPid1(),
  existsSync(join(DIST, "fleet-agent")) ? undefined : "dist/fleet-agent",
]
  .filter((what) => what !== undefined)
  .join("; ");
const isSkipped = missing !== "" && process.env["CI"] !== "true";
if (isSkipped) console.warn(`the contract with sensors: skipped, missing: ${missing}`);

/** The users of the agent and of its sensor. */
interface Variant {
  readonly name: string;
  /** The command that starts the agent. */
  readonly uid: number;
  readonly by: readonly string[];
  readonly sensorUid?: number;
}

/** The findings of one sensor, by the first word of its lines. */
interface Findings {
  readonly agent: readonly string[];
  readonly init: readonly string[];
  readonly victim: readonly string[];
  /** The files it could read. */
  readonly file: readonly string[];
  readonly own: readonly string[];
  readonly fd: readonly string[];
  readonly limit: readonly string[];
}

/** What any process may read of any other. */
const OF_ANYBODY = ["cmdline"];
/** What a process may do to another of the same user: none of it reveals a secret, and each can stop it. */
const OF_SAME_USER = ["cmdline", "kill", "prlimit", "affinity"];
const EVERYTHING = [
  "cmdline",
  "environ",
  "auxv",
  "maps",
  "mem",
  "process_vm_readv",
  "fd",
  "pidfd_getfd",
  "exe",
  "root",
  "ptrace",
  "kill",
  "prlimit",
  "affinity",
];
/** What a kernel with Yama's restriction allows only to a process's ancestors. */
const ATTACHING = ["process_vm_readv", "pidfd_getfd", "ptrace", "mem"];
const YAMA = "/proc/sys/kernel/yama/ptrace_scope";
const everything =
  existsSync(YAMA) && readFileSync(YAMA, "utf8").trim() !== "0"
    ? EVERYTHING.filter((what) => !ATTACHING.includes(what))
    : EVERYTHING;

const dir = mkdtempSync(join(tmpdir(), "fleet-contract-"));
let outside: Outside;
beforeAll(async () => {
  if (isSkipped) return;
  chmodSync(dir, 0o755);
  const source = join(import.meta.dir, "snoop.c");
  const flags = ["-O1", "-Wall", "-Wextra", "-Werror", "-static", source, "-o", join(dir, "snoop")];
  expect(Bun.spawnSync(["gcc", ...flags]).stderr.toString()).toBe("");
  outside = await Outside.start(join(DIST, "fleet-coordinator"), join(dir, "outside"));
});
afterAll(async () => {
  await outside?.stop();
  rmSync(dir, { recursive: true, force: true });
});

/** The image's variables, some of them unusual, all of which a sensor must get unchanged. */
const IMAGE = {
  LANG: "C.UTF-8",
  EMPTY: "",
  lower_case: "a=b=c",
  LINES: "one\ntwo",
  BUN_OPTIONS: "--preload=/none",
  NODE_OPTIONS: "--none",
  HTTPS_PROXY: "http://127.0.0.1:1",
  FLEET_PACKS_DIR: "/packs",
  FLEET_RUNTIME_ENVS_DIR: "/envs",
};

/** A running agent of a variant, whose snoop has tried everything. */
class Contract implements AsyncDisposable {
  readonly dir: string;
  readonly node: string;
  readonly pid1: Pid1;
  readonly url: string;

  private constructor(here: string, node: string, pid1: Pid1, url: string) {
    this.dir = here;
    this.node = node;
    this.pid1 = pid1;
    this.url = url;
  }

  static async start({ name, uid, by, sensorUid }: Variant): Promise<Contract> {
    const node = name.replaceAll(/\W+/g, "-");
    const here = join(dir, node);
    // Sensors write into `here`; the agent creates its state directory in `home`.
    for (const [path, mode, owner] of [
      [here, 0o777, 0],
      [join(here, "home"), 0o755, uid],
    ] as const) {
      mkdirSync(path);
      chmodSync(path, mode);
      chownSync(path, owner, owner);
    }
    symlinkSync("/bin/sleep", join(here, "victim"));
    const token = join(here, "home/token");
    writeFileSync(token, ENROLL_TOKEN, { mode: 0o400 });
    chownSync(token, uid, uid);
    const state = join(here, "home/state");
    const files = [
      token,
      ...["identity.json", "processes.json", "logs/snoop.log"].map((file) => join(state, file)),
    ];
    // With limits, so that the launcher starts it in every variant.
    const user = {
      limits: { open_files: 512 },
      ...(sensorUid === undefined ? {} : { uid: sensorUid }),
    };
    const snoop = {
      name: "snoop",
      runtime: "native",
      command: [join(dir, "snoop"), here, ...files],
      ...user,
    };
    const victim = { name: "victim", runtime: "native", command: [join(here, "victim"), "1000"] };
    const config = join(here, "agent.yaml");
    const env = { DECLARED: "by its config", LANG: "declared" };
    writeFileSync(
      config,
      JSON.stringify({
        node: { name: node },
        runtimes: ["native"],
        sensors: [{ ...snoop, env }, victim],
      }),
    );
    const pid1 = await Pid1.start(
      [...by, join(DIST, "fleet-agent"), "--config", config, "--state-dir", state],
      {
        env: {
          ...IMAGE,
          ...outside.environment,
          FLEET_ENROLL_TOKEN_PREVIOUS_FILE: token,
          SAME_TOKEN_ELSEWHERE: ENROLL_TOKEN,
          IN_A_URL: `http://user:${ENROLL_TOKEN}@host/`,
        },
      },
    );
    const contract = new Contract(here, node, pid1, outside.environment["FLEET_COORDINATOR_URL"]!);
    // The identity with its token is written last.
    await until("the agent's files", () => files.every((file) => existsSync(file)));
    writeFileSync(join(here, "go"), "");
    await until("the snoop's findings", () => contract.#lines().at(-1) === "end");
    return contract;
  }

  #lines(): readonly string[] {
    const path = join(this.dir, "snoop");
    return existsSync(path) ? readFileSync(path, "utf8").trimEnd().split("\n") : [];
  }

  get findings(): Findings {
    const of = (kind: string): readonly string[] =>
      this.#lines().flatMap((line) =>
        line.startsWith(`${kind} `) ? [line.slice(kind.length + 1)] : [],
      );
    const file = of("file").map((path) => path.slice(path.lastIndexOf("/") + 1));
    const kinds = ["agent", "init", "victim", "own", "fd", "limit"];
    const [agent, init, victim, own, fd, limit] = kinds.map(of);
    return { agent: agent!, init: init!, victim: victim!, file, own: own!, fd: fd!, limit: limit! };
  }

  /** The pid of the agent outside the container. */
  get agentPid(): number {
    return this.pid1.processes().find(({ parent }) => parent === this.pid1.pid)!.pid;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.pid1[Symbol.asyncDispose]();
  }
}

const FILES = ["token", "identity.json", "processes.json", "snoop.log"];
const VARIANTS: readonly (Variant & {
  readonly expected: Omit<Findings, "own" | "fd" | "limit">;
})[] = [
  {
    name: "one user without rights for the agent and its sensors",
    uid: NOBODY,
    by: ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, ...POWERLESS],
    expected: { agent: OF_SAME_USER, init: OF_SAME_USER, victim: everything, file: FILES },
  },
  {
    name: "root for both, as containers have it",
    uid: 0,
    by: AS_CONTAINER_ROOT,
    expected: { agent: OF_SAME_USER, init: OF_SAME_USER, victim: everything, file: FILES },
  },
  {
    name: "root for the agent, another user for the sensor",
    uid: 0,
    by: AS_CONTAINER_ROOT,
    sensorUid: OTHER,
    expected: { agent: OF_ANYBODY, init: OF_ANYBODY, victim: OF_ANYBODY, file: [] },
  },
  {
    name: "root with every right for both",
    uid: 0,
    by: [],
    expected: { agent: EVERYTHING, init: EVERYTHING, victim: EVERYTHING, file: FILES },
  },
];

describe.skipIf(isSkipped).each(VARIANTS.map((one) => [one.name, one] as const))(
  "%s (A10)",
  (_name, variant) => {
    let contract: Contract;
    let findings: Findings;
    beforeAll(async () => {
      contract = await Contract.start(variant);
      findings = contract.findings;
    });
    afterAll(() => contract[Symbol.asyncDispose]());

    test.each(["agent", "init", "victim", "file"] as const)("what it gets at of: %s", (kind) => {
      expect(findings[kind].toSorted()).toEqual(variant.expected[kind].toSorted());
    });

    test("its environment is the image's, less the agent's secrets, plus its own", () => {
      const expected = {
        ...IMAGE,
        PATH: expect.any(String) as string,
        PWD: process.cwd(),
        FLEET_COORDINATOR_URL: contract.url,
        FLEET_AGENT_RUNTIMES: "native",
        FLEET_API_URL: contract.url,
        FLEET_NODE_ID: contract.node,
        FLEET_SENSOR: "snoop",
        DECLARED: "by its config",
        LANG: "declared",
        // In the form in which the snoop writes it.
        LINES: String.raw`one\ntwo`,
      };
      const own = findings.own.map(
        (entry) =>
          [entry.slice(0, entry.indexOf("=")), entry.slice(entry.indexOf("=") + 1)] as const,
      );
      expect(Object.fromEntries(own)).toEqual(expected);
      expect(own.length).toBe(Object.keys(expected).length);
    });

    test("it is given no descriptor but its input and outputs, and its limits", () => {
      expect([findings.fd, findings.limit]).toEqual([["0", "1", "2"], ["512"]]);
    });

    test("nothing the agent writes is for others to read", () => {
      const state = join(contract.dir, "home/state");
      const modes = readdirSync(state, { recursive: true, encoding: "utf8" }).map(
        (name) => statSync(join(state, name)).mode,
      );
      expect([statSync(state).mode, ...modes].filter((mode) => (mode & 0o077) !== 0)).toEqual([]);
    });

    test("the agent and init leave no core behind", () => {
      // The kernel assigns the files of a process that is not dumpable to root, whoever runs it.
      for (const pid of [contract.pid1.pid, contract.agentPid])
        expect(statSync(`/proc/${pid}/environ`).uid).toBe(0);
    });
  },
);

test.skipIf(isSkipped)(
  "an interpreter that is asked for its version can't read the agent either (A4, A10)",
  async () => {
    const here = join(dir, "probed");
    const bin = join(here, "bin");
    const found = join(here, "found");
    mkdirSync(bin, { recursive: true });
    writeFileSync(found, "");
    chmodSync(found, 0o666);
    const tries = ["environ", "mem", "maps"].map((name) => `cat /proc/$pid/${name}`).join("; ");
    const script = `#!/bin/sh
{ env; for pid in $PPID 1; do ${tries}; done; echo ran; } >>${found} 2>/dev/null
echo "This is perl 5, version 36, subversion 0 (v5.36.0) built for x86_64-linux"
`;
    writeFileSync(join(bin, "perl"), script, { mode: 0o755 });
    const nobody = ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, ...POWERLESS];
    const path = `PATH=${bin}:/usr/bin:/bin`;
    const agent = join(DIST, "fleet-agent");
    const command = [...nobody, "env", path, agent, "--detect-only", "--json"];
    await using pid1 = await Pid1.start(command, {
      env: { ...outside.environment, SECRET: "of the image" },
    });
    expect(await pid1.exited).toBe(0);
    const text = readFileSync(found, "utf8");
    expect(text).toContain("ran\n");
    expect(text).not.toContain("SECRET");
    expect(text).not.toContain(ENROLL_TOKEN);
  },
);
