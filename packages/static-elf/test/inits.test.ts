/**
 * Compares the init of a linked file with common inits of images: tini, dumb-init and s6. The table lists the differences, and
 * each of its lines is tested. (A12)
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Init, INITS, isAlive, Pid1, missingForInits } from "../src/testing.ts";
import { buildSubject, SIGNAL, type Subject } from "./subject.ts";

const dir = mkdtempSync(join(tmpdir(), "static-elf-inits-"));
const { HUP, INT, QUIT, KILL, USR1, USR2, TERM, WINCH, PWR, RTMIN_3, RTMAX } = SIGNAL;

const names = Object.keys(INITS) as Init[];

/** A signal that all but s6 forward, and that is delivered after any other pending one. */
const lastOf = (init: Init): number => (init === "s6" ? TERM : RTMAX);

/** `expected` lists the inits that differ; `others` applies to the rest. */
interface Case {
  readonly about: string;
  readonly words: (init: Init) => readonly string[];
  readonly act: (pid1: Pid1, init: Init) => unknown;
  readonly expected: Partial<Record<Init, unknown>> & { readonly others: unknown };
  /** Prefix of the init's command. */
  readonly before?: readonly string[];
  readonly prepare?: string;
}

const output = async (pid1: Pid1): Promise<unknown> => [...(await pid1.rest()), await pid1.exited];

/** Sends signals to a program that handles them, and returns those it received. */
function hears(about: string, signals: readonly number[], expected: Case["expected"]): Case {
  return {
    about,
    words: (init) => ["hear", String(lastOf(init))],
    async act(pid1, init) {
      expect(await pid1.line()).toBe("ready");
      for (const signal of [...signals, lastOf(init)]) pid1.kill(signal);
      return (await pid1.rest()).map(Number).filter((signal) => signal !== lastOf(init));
    },
    expected,
  };
}

/** Sends a signal to a program that handles none, then one that certainly ends it, and returns the exit code. */
function endsWith(about: string, signal: number, expected: Case["expected"]): Case {
  return {
    about,
    words: () => ["wait"],
    async act(pid1, init) {
      expect(await pid1.line()).toBe("ready");
      pid1.kill(signal);
      pid1.kill(lastOf(init));
      return pid1.exited;
    },
    expected,
  };
}

const CASES: readonly Case[] = [
  {
    about: "a program that ends with 7",
    words: () => ["exit", "7"],
    act: output,
    expected: { others: [7] },
  },
  {
    about: "a program that dies of SEGV",
    words: () => ["die", "11"],
    act: output,
    expected: { others: [139] },
  },
  {
    about: "the program is killed",
    words: () => ["wait"],
    async act(pid1) {
      expect(await pid1.line()).toBe("ready");
      pid1.kill(KILL, pid1.processes().find(({ name }) => name.startsWith("subject"))!.pid);
      return pid1.exited;
    },
    expected: { others: 137 },
  },
  {
    about: "a thousand orphans",
    words: () => ["orphans", "1000"],
    act: output,
    expected: { s6: ["3 processes", 0], others: ["2 processes", 0] },
  },
  {
    about: "children that end among orphans",
    words: () => ["children", "200"],
    act: output,
    expected: { others: ["200 right", 0] },
  },
  {
    about: "a daemon that ignores all signals is left behind",
    words: () => ["daemon"],
    async act(pid1) {
      expect(await pid1.line()).toBe("ready");
      const inside = pid1.processes();
      pid1.kill(TERM);
      return [await pid1.exited, inside.filter(isAlive)];
    },
    expected: { others: [3, []] },
  },
  hears("TERM", [TERM], { others: [TERM], s6: [] }),
  hears("HUP", [HUP], { others: [HUP], s6: [] }),
  hears("INT", [INT], { others: [INT], s6: [] }),
  hears("QUIT", [QUIT], { others: [QUIT], s6: [] }),
  hears("USR1", [USR1], { others: [USR1], ours: [TERM], s6: [] }),
  hears("WINCH", [WINCH], { others: [WINCH], ours: [TERM], s6: [] }),
  hears("PWR", [PWR], { others: [PWR], ours: [TERM], s6: [] }),
  hears("RTMIN+3", [RTMIN_3], { others: [RTMIN_3], ours: [TERM], s6: [] }),
  endsWith("TERM", TERM, { others: 143 }),
  endsWith("QUIT", QUIT, { others: 131, s6: 143 }),
  endsWith("HUP", HUP, { others: 129, s6: 143 }),
  endsWith("USR1", USR1, { others: 138, s6: 143 }),
  endsWith("WINCH", WINCH, { others: 192, ours: 128 + WINCH, s6: 143 }),
  endsWith("PWR", PWR, { others: 158, s6: 143 }),
  endsWith("RTMIN+3", RTMIN_3, { others: 165, s6: 143 }),
  {
    about: "a child in the program's group receives USR2",
    words: (init) => ["group", String(lastOf(init))],
    async act(pid1, init) {
      expect(await pid1.line()).toBe("ready");
      for (const signal of [USR2, lastOf(init)]) pid1.kill(signal);
      return (await pid1.rest()).includes(`child ${USR2}`);
    },
    expected: { others: false, "tini -g": true, "dumb-init": true },
  },
  {
    about: "the environment of PID 1 can be read by its own user",
    before: ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"],
    words: () => ["run", "sh", "-c", "cat /proc/1/environ >/dev/null 2>&1 && echo yes || echo no"],
    act: async (pid1) => pid1.line(),
    expected: { others: "yes", ours: "no" },
  },
  {
    about: "PID 1 keeps a descriptor open that the program inherited",
    prepare: "exec 9</dev/null",
    words: () => ["wait"],
    async act(pid1, init) {
      expect(await pid1.line()).toBe("ready");
      // Our init sets its name after closing descriptors; the program may be faster.
      const comm = () => readFileSync(`/proc/${pid1.pid}/comm`, "utf8").trim();
      if (init === "ours") while (comm() !== "fleet-init") await new Promise(setImmediate);
      return readdirSync(`/proc/${pid1.pid}/fd`).includes("9");
    },
    expected: { others: true, ours: false },
  },
];

const missing = missingForInits();
const isSkipped = missing !== undefined && process.env["CI"] !== "true";
if (isSkipped) console.warn(`inits.test.ts: skipped, missing: ${missing}`);

let subject: Subject;
beforeAll(() => {
  subject = buildSubject(dir);
});
describe.skipIf(isSkipped).each(CASES.map((one) => [one.about, one] as const))(
  "%s (A12)",
  (_about, { words, act, expected, before = [], prepare }) => {
    const rows = names.map((name) => [name, expected[name] ?? expected.others] as const);
    test.each(rows)("%s: %j", async (name, outcome) => {
      const program = [name === "ours" ? subject.linked : subject.plain, ...words(name)];
      const command = [...before, ...INITS[name](program, dir)];
      await using pid1 = await Pid1.start(command, prepare === undefined ? {} : { prepare });
      expect(await act(pid1, name)).toEqual(outcome);
    });
  },
);

afterAll(() => rmSync(dir, { recursive: true, force: true }));
