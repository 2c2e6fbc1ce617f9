/** The chaos test from start to end: start, break, come to rest, judge, stop. */
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { seededRandom } from "../../packages/daemon/src/index.ts";
import { BuildError, buildBinaries } from "../lib/build-binaries.ts";
import { print } from "../harness/output.ts";
import { StopRequest } from "../harness/stop-request.ts";
import { ChaosError, ChaosFleet, type Outcome } from "./fleet.ts";
import type { ChaosOptions } from "./options.ts";
import { comeToRest, judge, unbalanced } from "./rest.ts";
import { describeAction, makeSchedule, type Step } from "./schedule.ts";

const PROGRESS_MS = 5000;
const BALANCE_CHECK_MS = 1000;
const MINUTE_MS = 60_000;
const ACTION_LINES_MAX = 40;
const VIOLATIONS_SHOWN_MAX = 20;
const EXIT_IMPOSSIBLE = 69;

/** Runs the test. Returns the exit code: 0 if no rule is violated, 1 if one is, 69 if the test cannot run here. */
export async function runChaos(options: ChaosOptions): Promise<number> {
  try {
    await buildBinaries(["fleet-agent", "fleet-coordinator"], { dynamicIfNeeded: true });
  } catch (error) {
    if (!(error instanceof BuildError)) throw error;
    console.error(error.message);
    return 1;
  }
  const fleet = new ChaosFleet();
  let keepFiles = options.keep;
  const stop = new StopRequest((exitCode) => {
    fleet.close(false);
    process.exit(exitCode);
  });
  try {
    const actionLog = new ActionLog(fleet);
    const violations = await breakAndJudge(fleet, options, stop, actionLog);
    if (stop.signal !== undefined) return stop.exitCode ?? 1;
    keepFiles ||= violations.length > 0;
    return report(fleet, options, actionLog, violations);
  } catch (error) {
    if (!(error instanceof ChaosError)) throw error;
    console.error(error.message);
    return EXIT_IMPOSSIBLE;
  } finally {
    fleet.close(keepFiles);
  }
}

async function breakAndJudge(
  fleet: ChaosFleet,
  { seed, minutes, agents }: ChaosOptions,
  stop: StopRequest,
  actionLog: ActionLog,
): Promise<readonly string[]> {
  const durationMs = minutes * MINUTE_MS;
  const hasDisks = fleet.whyNoDisks === undefined;
  const schedule = makeSchedule(seededRandom(seed), { agents, durationMs, hasDisks });
  print(
    `Seed ${seed}: ${schedule.length} actions in ${(durationMs / 1000).toFixed(0)} s, ${agents} agents`,
  );
  if (!hasDisks) print(`No disk is filled, because none can be mounted here: ${fleet.whyNoDisks}`);
  await fleet.start(agents);
  await perform(fleet, schedule, stop, actionLog);
  if (stop.signal !== undefined) return [];
  print("Waiting for the fleet to come to rest");
  const rest =
    fleet.violations.length > 0
      ? undefined
      : await Promise.race([comeToRest(fleet), stop.requested.then(() => undefined)]);
  if (rest === undefined) return fleet.violations;
  await fleet.stop();
  return [...fleet.violations, ...judge(fleet, rest)];
}

async function perform(
  fleet: ChaosFleet,
  schedule: readonly Step[],
  stop: StopRequest,
  actionLog: ActionLog,
): Promise<void> {
  const startMs = performance.now();
  const elapsedMs = (): number => performance.now() - startMs;
  const running = new Set<Promise<void>>();
  let progressMs = 0;
  let balanceMs = 0;
  for (const { atMs, action } of schedule) {
    if (await stop.within(Math.max(0, atMs - elapsedMs()))) return;
    if (fleet.violations.length > 0) break;
    const text = describeAction(action);
    const begunMs = elapsedMs();
    const one = fleet
      .act(action)
      .then((outcome) => actionLog.add(begunMs, text, outcome))
      .finally(() => running.delete(one));
    running.add(one);
    if (elapsedMs() - balanceMs > BALANCE_CHECK_MS) {
      balanceMs = elapsedMs();
      void unbalanced(fleet).then((problems) => fleet.violations.push(...problems));
    }
    if (elapsedMs() - progressMs < PROGRESS_MS) continue;
    progressMs = elapsedMs();
    print(actionLog.progress(progressMs));
  }
  await Promise.race([Promise.all(running), stop.requested]);
  print(actionLog.progress(elapsedMs()));
}

/** The actions performed, in the order they ended. Also written to a file. */
class ActionLog {
  readonly lines: string[] = [];
  readonly #fleet: ChaosFleet;
  readonly #outcomes = new Map<Outcome, number>();

  constructor(fleet: ChaosFleet) {
    this.#fleet = fleet;
  }

  get file(): string {
    return join(this.#fleet.dir, "logs", "actions.log");
  }

  add(begunMs: number, action: string, outcome: Outcome): void {
    const line = `${(begunMs / 1000).toFixed(3)} s  ${action}  ${outcome}`;
    this.lines.push(line);
    appendFileSync(this.file, `${new Date().toISOString()}  ${line}\n`);
    this.#outcomes.set(outcome, (this.#outcomes.get(outcome) ?? 0) + 1);
  }

  progress(elapsedMs: number): string {
    const { agents, coordinator } = this.#fleet;
    const up = agents.filter(({ isUp }) => isUp).length;
    const done = this.#outcomes.get("done") ?? 0;
    const lives = agents.reduce((sum, agent) => sum + agent.lives.length, 0);
    return `${(elapsedMs / 1000).toFixed(0).padStart(4)} s  ${done} of ${this.lines.length} actions done  ${up} of ${agents.length} agents up (${lives} lives)  coordinator ${coordinator.isUp ? "up" : "down"} (${coordinator.life} lives)`;
  }
}

function report(
  fleet: ChaosFleet,
  { seed, minutes, agents }: ChaosOptions,
  actionLog: ActionLog,
  violations: readonly string[],
): number {
  const [first, ...others] = violations;
  if (first === undefined) {
    print(`All is well: every frame is accounted for (seed ${seed}).`);
    return 0;
  }
  console.error(`\nViolation (seed ${seed}): ${first}`);
  for (const other of others.slice(0, VIOLATIONS_SHOWN_MAX)) console.error(`  also: ${other}`);
  console.error(`\nLast actions (all of them: ${actionLog.file}):`);
  for (const line of actionLog.lines.slice(-ACTION_LINES_MAX)) console.error(`  ${line}`);
  console.error(
    `\nLogs: ${join(fleet.dir, "logs")}; input of the trackers: ${join(fleet.dir, "inputs")}`,
  );
  console.error(
    `Repeat with: bun run chaos --seed ${seed} --minutes ${minutes} --agents ${agents}`,
  );
  console.error("The schedule will be the same; its timing depends on the machine.");
  return 1;
}
