/** A linked file that runs as PID 1 stays as init, and its program continues as a child of init. (A12) */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Machine } from "../src/index.ts";
import { isAlive, Pid1, type Pid1Options, UNSHARE, missingForPid1 } from "../src/testing.ts";
import { buildProbe } from "./build-probe.ts";
import { buildSubject, SIGNAL, type Subject } from "./subject.ts";

const dir = mkdtempSync(join(tmpdir(), "static-elf-init-"));
const NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
const POWERLESS = [...NOBODY, "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"];
const RSS_KB_MAX = 64;
/** Signals that glibc uses internally. */
const GLIBC_INTERNAL = [32, 33];
const TRANSLATED = [SIGNAL.USR1, SIGNAL.PWR, SIGNAL.RTMIN_3, SIGNAL.WINCH];
const NOT_FORWARDED = [SIGNAL.KILL, SIGNAL.STOP, SIGNAL.CHLD, ...TRANSLATED, ...GLIBC_INTERNAL];
/** CONT, TSTP, TTIN, TTOU, URG: these do not terminate a process. */
const HARMLESS = [18, 20, 21, 22, 23];

const missing = missingForPid1();
if (missing !== undefined && process.env["CI"] !== "true")
  console.warn(`init.test.ts: skipped, missing: ${missing}`);
const describeInit = describe.skipIf(missing !== undefined && process.env["CI"] !== "true");

afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** A linked file of one processor, and the command that runs it on this machine. */
interface Target {
  readonly name: string;
  readonly machine?: Machine;
  readonly compiler: string;
  readonly runner: readonly string[];
  /** An emulator numbers real-time signals differently outside and inside. */
  readonly lastSignal: number;
  /** Signals that an emulator treats as its own faults: ILL, TRAP, BUS, FPE, SEGV. */
  readonly faults: readonly number[];
  readonly orphans: number;
}

const native: Target = {
  name: "this processor's",
  compiler: "gcc",
  runner: [],
  lastSignal: SIGNAL.RTMAX,
  faults: [],
  orphans: 1000,
};
const emulated: Target = {
  name: "aarch64's, emulated",
  machine: "aarch64",
  compiler: "aarch64-linux-gnu-gcc",
  runner: ["qemu-aarch64-static"],
  lastSignal: 31,
  faults: [4, 5, 7, 8, 11],
  orphans: 50,
};
const canEmulate = [emulated.compiler, ...emulated.runner].every(
  (tool) => Bun.which(tool) !== null,
);
const targets = process.arch === "x64" && canEmulate ? [native, emulated] : [native];

describeInit.each(targets.map((target) => [target.name, target] as const))(
  "init, %s",
  (_name, { machine, compiler, runner, lastSignal, faults, orphans }) => {
    const known = (numbers: readonly number[]) => numbers.filter((n) => n <= lastSignal);
    const forwarded = known(Array.from({ length: SIGNAL.RTMAX }, (_, i) => i + 1)).filter(
      (n) => !NOT_FORWARDED.includes(n) && !faults.includes(n),
    );
    let file: string;
    beforeAll(() => {
      file = buildSubject(dir, compiler, machine).linked;
    });
    const start = (words: readonly string[], options?: Pid1Options): Promise<Pid1> =>
      Pid1.start([...runner, file, ...words], options);

    test("exits with the program's code (A12)", async () => {
      for (const code of [0, 1, 7, 143, 255]) {
        await using pid1 = await start(["exit", String(code)]);
        expect(await pid1.exited).toBe(code);
      }
    });

    test("exits with 128 + n when a signal ends the program, including KILL and SEGV (A12)", async () => {
      for (const signal of known([SIGNAL.KILL, SIGNAL.SEGV, SIGNAL.TERM, SIGNAL.RTMAX])) {
        await using pid1 = await start(["wait"]);
        expect(await pid1.line()).toBe("ready");
        pid1.kill(signal, program(pid1));
        expect([signal, await pid1.exited]).toEqual([signal, 128 + signal]);
      }
    });

    test("forwards every signal, once and in order (A12)", async () => {
      await using pid1 = await start(["hear", String(SIGNAL.TERM)]);
      expect(await pid1.line()).toBe("ready");
      for (const signal of forwarded.filter((n) => n !== SIGNAL.TERM)) {
        pid1.kill(signal);
        expect(await pid1.line()).toBe(String(signal));
      }
      pid1.kill(SIGNAL.TERM);
      expect([await pid1.rest(), await pid1.exited]).toEqual([[String(SIGNAL.TERM)], 0]);
    });

    test("lets a signal end a program that does not handle it (A12)", async () => {
      for (const signal of forwarded.filter((n) => !HARMLESS.includes(n))) {
        await using pid1 = await start(["wait"]);
        expect(await pid1.line()).toBe("ready");
        pid1.kill(signal);
        expect([signal, await pid1.exited]).toEqual([signal, 128 + signal]);
      }
    });

    test("translates the stop signals of stock images to TERM and exits with 128 + the original number (A12)", async () => {
      for (const signal of known(TRANSLATED)) {
        await using stopped = await start(["wait"]);
        expect(await stopped.line()).toBe("ready");
        stopped.kill(signal);
        expect([signal, await stopped.exited]).toEqual([signal, 128 + signal]);

        await using orderly = await start(["hear", String(SIGNAL.TERM)]);
        expect(await orderly.line()).toBe("ready");
        orderly.kill(signal);
        expect([await orderly.rest(), await orderly.exited]).toEqual([[String(SIGNAL.TERM)], 0]);
      }
    });

    test("reaps orphans immediately, even many of them, and leaves no zombie (A12)", async () => {
      await using pid1 = await start(["orphans", String(orphans)]);
      expect([await pid1.rest(), await pid1.exited]).toEqual([["2 processes"], 0]);
    });

    test("never reaps the program's children while orphans end (A12)", async () => {
      await using pid1 = await start(["children", String(orphans)]);
      expect([await pid1.rest(), await pid1.exited]).toEqual([[`${orphans} right`], 0]);
    });

    test("ends with the program, together with processes that ignore all signals (A12)", async () => {
      await using pid1 = await start(["daemon"]);
      expect(await pid1.line()).toBe("ready");
      const inside = pid1.processes();
      expect(inside).toHaveLength(2);
      pid1.kill(SIGNAL.TERM);
      expect(await pid1.exited).toBe(3);
      expect(inside.filter(isAlive)).toEqual([]);
    });

    test("notices the program's end although its parent ignored SIGCHLD (A12)", async () => {
      const command = ["env", "--ignore-signal=CHLD", ...runner, file];
      for (const [words, code] of [
        [["exit", "5"], 5],
        [["children", "9"], 0],
      ] as const) {
        await using pid1 = await Pid1.start([...command, ...words]);
        expect(await pid1.exited).toBe(code);
        expect(await pid1.rest()).toEqual(code === 0 ? ["9 right"] : []);
      }
    });
  },
);

describeInit("init", () => {
  let subject: Subject;
  let file: string;
  beforeAll(() => {
    subject = buildSubject(dir);
    file = subject.linked;
  });
  const start = (words: readonly string[], options?: Pid1Options): Promise<Pid1> =>
    Pid1.start([file, ...words], options);

  test("keeps inherited ignored signals ignored for the program (A12)", async () => {
    await using pid1 = await Pid1.start(["env", "--ignore-signal=HUP", file, "wait"]);
    expect(await pid1.line()).toBe("ready");
    pid1.kill(SIGNAL.HUP);
    pid1.kill(SIGNAL.USR2);
    expect(await pid1.exited).toBe(128 + SIGNAL.USR2);
  });

  test("does not treat a stopped program as ended (A12)", async () => {
    await using pid1 = await start(["wait"]);
    expect(await pid1.line()).toBe("ready");
    pid1.kill(SIGNAL.STOP, program(pid1));
    pid1.kill(SIGNAL.TERM);
    pid1.kill(SIGNAL.CONT);
    expect(await pid1.exited).toBe(128 + SIGNAL.TERM);
  });

  test("waits for a program that ignores signals (A12)", async () => {
    await using pid1 = await start(["ignore", String(SIGNAL.TERM), String(SIGNAL.INT)]);
    expect(await pid1.line()).toBe("ready");
    for (const signal of [SIGNAL.TERM, SIGNAL.INT, SIGNAL.WINCH]) pid1.kill(signal);
    pid1.kill(SIGNAL.KILL, program(pid1));
    expect(await pid1.exited).toBe(128 + SIGNAL.KILL);
  });

  test("forwards signals from inside the container, and survives all of them (A12)", async () => {
    const script = "kill -KILL 1; kill -STOP 1; echo still; kill -SEGV 1; exec sleep 1000";
    await using pid1 = await start(["run", "sh", "-c", script]);
    expect(await pid1.line()).toBe("still");
    // The SEGV was forwarded to the program.
    expect(await pid1.exited).toBe(128 + SIGNAL.SEGV);
  });

  test.each([
    ["this kernel", []],
    ["a kernel without close_range", ["old"]],
  ])(
    "keeps only the standard descriptors, while the program keeps all it inherited: on %s (A12)",
    async (_what, old) => {
      const { plain, linked } = subject;
      const before = old.length > 0 ? [plain, ...old] : [];
      const script = "ls /proc/$PPID/fd | tr '\\n' ' '; echo; exec sleep 1000";
      await using pid1 = await Pid1.start([...before, linked, "run", "sh", "-c", script], {
        prepare: "exec 5</dev/null 6</dev/null",
      });
      expect(await pid1.line()).toBe("0 1 2 5 6 ");
      expect(readdirSync(`/proc/${pid1.pid}/fd`)).toEqual(["0", "1", "2"]);
    },
  );

  test("works without capabilities on a read-only root (A12)", async () => {
    await using pid1 = await Pid1.start([...POWERLESS, file, "orphans", "10"], {
      prepare: "mount -o remount,bind,ro /",
    });
    expect([await pid1.rest(), await pid1.err, await pid1.exited]).toEqual([
      ["2 processes"],
      "",
      0,
    ]);
  });

  test("cannot be inspected by its own user, and neither can the program (A10, A12)", async () => {
    // Runs as a child of the program, to which even stricter kernels could allow ptrace(2).
    const script = `
      for pid in 1 $PPID; do
        for name in environ mem maps auxv; do cat /proc/$pid/$name >/dev/null && echo $pid $name; done
        for name in exe cwd root; do readlink /proc/$pid/$name && echo $pid $name; done
        ls /proc/$pid/fd && echo $pid fd
      done 2>/dev/null
      tr '\\0' '\\n' </proc/$$/environ | grep SECRET`;
    const env = { SECRET: "kept" };
    await using pid1 = await Pid1.start([...POWERLESS, file, "run", "sh", "-c", script], { env });
    expect([await pid1.rest(), await pid1.exited]).toEqual([["SECRET=kept"], 0]);
  });

  test("prints a line when it cannot fork, and continues without init (A12)", async () => {
    // An otherwise unused uid, because the limit counts all processes of a user on the machine.
    const lone = ["setpriv", "--reuid=64321", "--regid=64321", "--clear-groups"];
    await using pid1 = await Pid1.start([...lone, "prlimit", "--nproc=1", file, "exit", "7"]);
    expect([await pid1.err, await pid1.exited]).toEqual([
      "static-elf: can't fork, so orphans will not be reaped: errno 11\n",
      7,
    ]);
  });

  test("works for Bun programs too, with minimal memory (A12)", async () => {
    const { linked } = await buildProbe(dir);
    const script = "echo ready >&2; exec sleep 1000";
    await using pid1 = await Pid1.start([linked, "spawn", "sh", "-c", script], {
      prepare: "exec 2>&1",
    });
    expect(await pid1.line()).toBe("ready");
    expect(pid1.processes()).toMatchObject([{ name: "probe", parent: pid1.pid }, {}]);
    expect(status(pid1.pid, "Name")).toBe("fleet-init");
    expect(Number.parseInt(status(pid1.pid, "VmRSS"))).toBeLessThanOrEqual(RSS_KB_MAX);
    expect(oomScore(pid1.pid)).toBeLessThanOrEqual(oomScore(program(pid1)));
    pid1.kill(SIGNAL.TERM);
    expect(await pid1.exited).toBe(128 + SIGNAL.TERM);
  });
});

describeInit("init with a terminal", () => {
  let file: string;
  beforeAll(() => {
    file = buildSubject(dir).linked;
  });

  // With container runtimes, PID 1 leads the session of its terminal. It also works without.
  test.each([
    ["of its own session", ["setsid", "--ctty"]],
    ["of a session started outside", []],
  ])("%s: keys reach the program once, and so does a resize (A12)", async (_what, session) => {
    await using terminal = new Terminal([...session, file, "hear", String(SIGNAL.TERM)]);
    await terminal.shows("ready");
    for (const [key, signal] of [
      ["\x03", SIGNAL.INT],
      ["\x1c", SIGNAL.QUIT],
      ["\x1a", SIGNAL.TSTP],
      ["\x03", SIGNAL.INT],
    ] as const) {
      terminal.type(key);
      await terminal.shows(String(signal));
    }
    terminal.resize();
    await terminal.shows(String(SIGNAL.WINCH));
    terminal.kill(SIGNAL.TERM);
    expect(await terminal.exited).toBe(0);
    expect(terminal.lines).toEqual(["ready", "2", "3", "20", "2", "28", "15"]);
  });

  test("lets Ctrl-C end a program that does not handle it (A12)", async () => {
    await using terminal = new Terminal(["setsid", "--ctty", file, "wait"]);
    await terminal.shows("ready");
    terminal.type("\x03");
    expect(await terminal.exited).toBe(128 + SIGNAL.INT);
  });

  test("forwards a WINCH from outside, which looks like a resize (A12)", async () => {
    await using terminal = new Terminal(["setsid", "--ctty", file, "hear", String(SIGNAL.WINCH)]);
    await terminal.shows("ready");
    terminal.kill(SIGNAL.WINCH);
    expect(await terminal.exited).toBe(0);
  });
});

/** Runs a command as PID 1 on its own terminal. */
class Terminal implements AsyncDisposable {
  #text = "";
  #seen = 0;
  #onText = (): void => {};
  readonly #child: Bun.Subprocess;

  constructor(command: readonly string[]) {
    const data = (_terminal: unknown, bytes: Uint8Array): void => {
      this.#text += Buffer.from(bytes).toString();
      this.#onText();
    };
    this.#child = Bun.spawn([...UNSHARE, ...command], { terminal: { cols: 80, rows: 24, data } });
  }

  /** The complete lines, without echoed keys. */
  get lines(): readonly string[] {
    const lines = this.#text.split("\r\n").slice(0, -1);
    return lines.map((line) => line.replaceAll(/\^[A-Z\\]/g, ""));
  }

  /** Waits for the next line, which must equal `line`. */
  async shows(line: string): Promise<void> {
    while (this.lines.length <= this.#seen)
      await new Promise<void>((done) => {
        this.#onText = done;
      });
    expect(this.lines[this.#seen++]).toBe(line);
  }

  type(keys: string): void {
    this.#child.terminal!.write(keys);
  }

  resize(): void {
    this.#child.terminal!.resize(100, 30);
  }

  kill(signal: number): void {
    const { pid } = this.#child;
    const inside = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
    // Empty when it has just exited. A pid of 0 would signal our own group.
    if (inside !== "") process.kill(Number(inside), signal);
  }

  get exited(): Promise<number> {
    return this.#child.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null) this.kill(SIGNAL.KILL);
    await this.#child.exited;
    this.#child.terminal!.close();
  }
}

function status(pid: number, name: string): string {
  const text = readFileSync(`/proc/${pid}/status`, "utf8");
  return new RegExp(`^${name}:\\s*(.*)$`, "m").exec(text)![1]!;
}

function oomScore(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/oom_score`, "utf8"));
}

function program(pid1: Pid1): number {
  return pid1.processes().find(({ parent }) => parent === pid1.pid)!.pid;
}
