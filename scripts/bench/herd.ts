/**
 * `bun run bench herd`: thousands of agents on one coordinator, each with a registration (the agent's own code) and an open
 * event stream; then the coordinator is killed and restarted. Beside it, in the same run, as many clients on mosquitto and
 * leases in etcd. `--picture FILE` draws the load during the restart, `--only NAME` measures one server.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { buildBinaries } from "../lib/build-binaries.ts";
import { cpuS, end } from "./shared/processes.ts";
import { quantile, table } from "./shared/figures.ts";
import { type Contender, CONTENDERS } from "./herd/contenders.ts";
import { ENROLL_TOKEN } from "./shared/coordinator.ts";
import type { Sample } from "./herd/member.ts";
import { wallMs } from "./shared/wall-clock.ts";
import type { Answer, Order } from "./herd/orders.ts";
import { outagePicture } from "./herd/picture.ts";

const AGENTS = 10_000;
const AGENTS_SHORT = 1000;
const INTERVAL_MS = 30_000;
const PROCESSES = 4;
/** Clients that enter at the same time, per process. */
const IN_FLIGHT = 64;
/** Descriptors that are not for clients. */
const SPARE_DESCRIPTORS = 1000;
const SETTLE_MS = 3000;
const STEADY_MS = 60_000;
const STEADY_SHORT_MS = 10_000;
const BACK_MS_MAX = 120_000;

const { values } = parseArgs({
  options: {
    short: { type: "boolean", default: false },
    agents: { type: "string" },
    data: { type: "string" },
    picture: { type: "string" },
    only: { type: "string" },
  },
});

/** The figures of one server. */
interface Figures {
  readonly entriesPerS: number;
  readonly entry: readonly [p50Ms: number, p99Ms: number];
  readonly bytesEach: number;
  readonly steadyCpu: number;
  readonly checkIn: readonly [p50Ms: number, p99Ms: number];
  readonly allBackMs: number;
  readonly medianBackMs: number;
  readonly serverErrors: number;
}

/** The processes that run the clients. */
class Clients {
  readonly #children: readonly Bun.Subprocess[];
  readonly #waiting = new Set<(from: Bun.Subprocess, answer: Answer) => void>();

  constructor() {
    this.#children = Array.from({ length: PROCESSES }, () =>
      Bun.spawn([process.execPath, join(import.meta.dir, "herd/clients.ts")], {
        stdio: ["ignore", "inherit", "inherit"],
        ipc: (answer: Answer, from) => {
          for (const onAnswer of this.#waiting) onAnswer(from, answer);
        },
        onExit: (_child, code) => {
          if (code === null) return;
          console.error(`bench: a client process ended with exit code ${code}`);
          process.exit(1);
        },
      }),
    );
  }

  ready(): Promise<readonly Answer[]> {
    return this.#all("ready", () => {});
  }

  async enter(contender: Contender, port: number, agents: number): Promise<void> {
    const each = Math.ceil(agents / PROCESSES);
    await this.#all("up", (child, i) => {
      const first = i * each;
      const count = Math.min(each, agents - first);
      const { kind } = contender;
      const pace = { intervalMs: INTERVAL_MS, inFlight: IN_FLIGHT };
      const order: Order = {
        do: "enter",
        kind,
        port,
        first,
        count,
        ...pace,
        enrollToken: ENROLL_TOKEN,
      };
      child.send(order);
    });
  }

  async take(): Promise<Sample[]> {
    const answers = await this.#all("samples", (child) => child.send({ do: "take" }));
    return answers.flatMap((a) => (a.at === "samples" ? a.samples : []));
  }

  async outage(): Promise<void> {
    await this.#all("up", (child) => child.send({ do: "outage" }));
  }

  async end(): Promise<void> {
    await end(this.#children, "SIGKILL");
  }

  /** Calls `ask` for every process. Resolves when each has sent an answer of the kind `at`. */
  #all(
    at: Answer["at"],
    ask: (child: Bun.Subprocess, index: number) => void,
  ): Promise<readonly Answer[]> {
    const { promise, resolve, reject } = Promise.withResolvers<readonly Answer[]>();
    const answers = new Map<Bun.Subprocess, Answer>();
    const onAnswer = (from: Bun.Subprocess, answer: Answer): void => {
      if (answer.at === at) answers.set(from, answer);
      if (answers.size === this.#children.length) done(() => resolve([...answers.values()]));
    };
    const timer = setTimeout(
      () => done(() => reject(new Error(`not every client process answered "${at}"`))),
      BACK_MS_MAX,
    );
    const done = (then: () => void): void => {
      clearTimeout(timer);
      this.#waiting.delete(onAnswer);
      then();
    };
    this.#waiting.add(onAnswer);
    for (const [i, child] of this.#children.entries()) ask(child, i);
    return promise;
  }
}

/** Returns the resident memory of a process, in bytes. */
function rssBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024;
}

function quantiles(samples: readonly Sample[]): [number, number] {
  const sorted = samples
    .filter((s) => s.outcome === "ok")
    .map((s) => s.ms)
    .toSorted((a, b) => a - b);
  return sorted.length === 0 ? [0, 0] : [quantile(sorted, 0.5), quantile(sorted, 0.99)];
}

async function measure(contender: Contender, dir: string, agents: number): Promise<Figures> {
  mkdirSync(dir);
  const place = contender.place(dir);
  let server = await place.start();
  const clients = new Clients();
  try {
    await clients.ready();
    await Bun.sleep(SETTLE_MS);
    const emptyBytes = rssBytes(server.pid);

    const enteringMs = wallMs();
    await clients.enter(contender, place.port, agents);
    const entriesPerS = agents / ((wallMs() - enteringMs) / 1000);
    const entry = quantiles(await clients.take());
    await Bun.sleep(SETTLE_MS);
    const bytesEach = (rssBytes(server.pid) - emptyBytes) / agents;

    await clients.take();
    const steadyMs = values.short ? STEADY_SHORT_MS : STEADY_MS;
    const cpuBefore = cpuS(server.pid);
    await Bun.sleep(steadyMs);
    const steadyCpu = (cpuS(server.pid) - cpuBefore) / (steadyMs / 1000);
    const checkIn = quantiles(await clients.take());

    const back = clients.outage();
    const killedMs = wallMs();
    await end([server], "SIGKILL");
    server = await place.start();
    await back;
    const samples = await clients.take();
    const backMs = backTimes(samples, killedMs);
    if (contender.kind === "fleet" && values.picture !== undefined)
      writeFileSync(values.picture, outagePicture(samples, backMs, killedMs));
    return {
      entriesPerS,
      entry,
      bytesEach,
      steadyCpu,
      checkIn,
      allBackMs: backMs.at(-1)! - killedMs,
      medianBackMs: quantile(backMs, 0.5) - killedMs,
      serverErrors: samples.filter((s) => s.outcome === "server_error").length,
    };
  } finally {
    await clients.end();
    await end([server], "SIGKILL");
  }
}

/** Returns the time at which each member got its first answer after the kill, sorted. */
function backTimes(samples: readonly Sample[], killedMs: number): number[] {
  const first = new Map<number, number>();
  for (const { index, atMs, ms, outcome } of samples) {
    const doneMs = atMs + ms;
    if (outcome !== "ok" || atMs < killedMs) continue;
    first.set(index, Math.min(first.get(index) ?? Number.POSITIVE_INFINITY, doneMs));
  }
  return [...first.values()].toSorted((a, b) => a - b);
}

function row(name: string, f: Figures): string[] {
  return [
    name,
    f.entriesPerS.toFixed(0),
    f.entry.map((ms) => ms.toFixed(1)).join(" / "),
    (f.bytesEach / 1000).toFixed(1),
    `${(f.steadyCpu * 100).toFixed(1)} %`,
    f.checkIn.map((ms) => ms.toFixed(1)).join(" / "),
    `${(f.medianBackMs / 1000).toFixed(2)} / ${(f.allBackMs / 1000).toFixed(2)}`,
    String(f.serverErrors),
  ];
}

function aim(what: string, reached: boolean, value: string): string {
  return `aim: ${what}: ${value} — ${reached ? "reached" : "NOT reached"}`;
}

/** Limits the number of agents to what file descriptors allow. Each client takes one of the server's, at times two. */
function limitAgents(wanted: number): number {
  const limits = readFileSync("/proc/self/limits", "utf8");
  const descriptors = Number(/Max open files\s+(\d+)/.exec(limits)?.[1] ?? Infinity);
  const fit = Math.floor((descriptors - SPARE_DESCRIPTORS) / 1.5);
  if (fit < wanted)
    console.log(
      `The limit of ${descriptors} open files allows ${fit} clients instead of ${wanted}`,
    );
  return Math.min(wanted, fit);
}

const agents = limitAgents(Number(values.agents ?? (values.short ? AGENTS_SHORT : AGENTS)));
await buildBinaries(["fleet-coordinator"]);
const dir = mkdtempSync(join(tmpdir(), "fleet-bench-"));
const found = new Map<string, Figures>();
try {
  for (const contender of CONTENDERS) {
    if (values.only !== undefined && values.only !== contender.name) continue;
    if (contender.version === undefined) {
      console.log(`${contender.name} is not installed: skipped`);
      continue;
    }
    console.log(`${contender.name} ${contender.version}: ${contender.does}`);
    found.set(contender.name, await measure(contender, join(dir, contender.name), agents));
  }
} finally {
  rmSync(dir, { recursive: true, force: true });
}
console.log(
  `\n${agents} clients in ${PROCESSES} processes, checking in every 30 s; all on one machine`,
);
const HEAD =
  "|entries/s|entry p50 / p99 ms|kB each|steady CPU of a core|check-in p50 / p99 ms|back after kill: median / all, s|5xx";
console.log(table([HEAD.split("|"), ...[...found].map(([name, f]) => row(name, f))]));
const ours = found.get("fleet")!;
for (const [name, f] of found) {
  if (name === "fleet") continue;
  const ratio = (a: number, b: number): string => (a / b).toFixed(2);
  console.log(
    `fleet beside ${name}: entries ${ratio(ours.entriesPerS, f.entriesPerS)} ×, memory ${ratio(ours.bytesEach, f.bytesEach)} ×, steady CPU ${ratio(ours.steadyCpu, f.steadyCpu)} ×, all back after ${ratio(ours.allBackMs, f.allBackMs)} × the time`,
  );
}
console.log(
  aim("memory ≤ 20 kB each", ours.bytesEach <= 20_000, `${(ours.bytesEach / 1000).toFixed(1)} kB`),
);
console.log(
  aim(
    "check-ins ≤ 5 % of a core",
    ours.steadyCpu <= 0.05,
    `${(ours.steadyCpu * 100).toFixed(1)} %`,
  ),
);
console.log(
  aim(
    "all back within 5 s of the kill",
    ours.allBackMs <= 5000,
    `${(ours.allBackMs / 1000).toFixed(2)} s`,
  ),
);
console.log(aim("no 5xx", ours.serverErrors === 0, String(ours.serverErrors)));
