/** Lets the fleet come to rest after the chaos, and collects the facts for the verdict. */
import { readdirSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import type { NodeView, SensorCounters } from "../../packages/protocol/src/index.ts";
import type { ChaosAgent } from "./parts/agent.ts";
import type { ChaosFleet } from "./fleet.ts";
import { readInputs, readSensorRuns, spoolFiles } from "./frames.ts";
import type { Answer } from "../harness/fleet-api.ts";
import { isBalanced, plainProblems, type SensorFacts, sensorProblems } from "./verdict.ts";

const POLL_MS = 400;
/** A half-open connection is detected within 30 s, and the next attempt may meet another one. */
const REST_MS_MAX = 120_000;
/**
 * This many consecutive polls must yield the same state. Together they take longer than a node stays LIVE without heartbeats,
 * so that the counters are current.
 */
const SAME_POLLS = 8;
const LAST_FRAMES = 200;
/** Sockets besides those for streams: idle HTTP connections, listeners, outputs. */
const OTHER_SOCKETS_MAX = 32;

/** The state of the coordinator at rest. */
export interface Rest {
  readonly answer: Answer;
  /** The metrics in text format. */
  readonly metrics: string;
}

/** Ends all faults and waits until nothing changes any more. Returns undefined if that takes too long, which is a violation. */
export async function comeToRest(fleet: ChaosFleet): Promise<Rest | undefined> {
  for (const agent of fleet.agents) agent.hold(true);
  fleet.mend();
  await Promise.all(fleet.plain.map((node) => node.stop()));
  const isUp = await untilStill(fleet);
  if (isUp === undefined) return undefined;
  for (const node of fleet.plain)
    if (!(await node.pushOnce(LAST_FRAMES)))
      fleet.violations.push(`${node.name} could not send ${LAST_FRAMES} frames undisturbed`);
  const answer = await untilStill(fleet);
  fleet.violations.push(...leaks(fleet));
  return answer && { answer, metrics: await fleet.coordinator.api.metrics() };
}

/** Returns the sensors whose balance does not hold in the last heartbeat. */
export async function unbalanced({ coordinator, agents }: ChaosFleet): Promise<readonly string[]> {
  const answer = await coordinator.api.ask().catch(() => undefined);
  if (answer === undefined) return [];
  return agents.flatMap(({ name }) =>
    Object.entries(countersOf(answer, name))
      .filter(([, counters]) => !isBalanced(counters))
      .map(
        ([sensor, counters]) =>
          `${name}.${sensor}: the balance does not hold: ${JSON.stringify(counters)}`,
      ),
  );
}

/** Returns all violations. Call it once the fleet has stopped. */
export function judge(fleet: ChaosFleet, { answer, metrics }: Rest): readonly string[] {
  const { coordinator } = fleet;
  const invalid: string[] = [];
  const inputsOf = (stream: string) =>
    readInputs(coordinator.inputsDir(stream), (line) => invalid.push(`${stream}: ${line}`));
  const isKilledLife = (life: number): boolean => coordinator.wasKilled[life - 1] === true;
  const ofSensors = fleet.agents.flatMap((agent) =>
    agent.sensors.flatMap(({ name, stream, records }) =>
      sensorProblems({
        stream,
        inputs: inputsOf(stream),
        isKilledLife,
        policy: agent.policy,
        runs: sensorFacts(agent, stream, records),
        counters: countersOf(answer, agent.name)[name]!,
      }),
    ),
  );
  const ofPlain = fleet.plain.flatMap((node) => {
    const view = answer.trackers.find(({ stream_id: id }) => id === node.name);
    const lastLife = coordinator.life;
    return plainProblems({
      stream: node.name,
      inputs: inputsOf(node.name),
      isKilledLife,
      connections: node.connections.map(({ id, sent, end, life }) => ({
        id,
        sent,
        isWhole: end === "clean" && life === lastLife,
      })),
      dropped: Object.values(view?.frames_dropped ?? {}).reduce((sum, n) => sum + n, 0),
      accepted: view?.frames ?? 0,
      lastLife,
    });
  });
  const lines = invalid.slice(0, 3).map((line) => `a tracker received an invalid frame: ${line}`);
  return [...lines, ...ofSensors, ...ofPlain, ...metricProblems(fleet, answer, metrics)];
}

/** Checks that the metrics agree with the list of nodes. */
function metricProblems(fleet: ChaosFleet, answer: Answer, metrics: string): readonly string[] {
  const lines = new Set(metrics.split("\n"));
  return fleet.agents.flatMap((agent) =>
    agent.sensors.flatMap(({ name, stream }) => {
      const { produced, acked, spooled, dropped } = countersOf(answer, agent.name)[name]!;
      const expected = [
        `produced_total{stream="${stream}"} ${produced}`,
        `acked_total{stream="${stream}"} ${acked}`,
        `spooled{stream="${stream}"} ${spooled}`,
        ...Object.entries(dropped).map(
          ([reason, n]) => `dropped_total{stream="${stream}",reason="${reason}"} ${n}`,
        ),
      ].map((text) => `fleet_sensor_frames_${text}`);
      return expected
        .filter((line) => !lines.has(line))
        .map((line) => `${stream}: the metrics lack ${line}`);
    }),
  );
}

function sensorFacts(agent: ChaosAgent, stream: string, records: string): readonly SensorFacts[] {
  return readSensorRuns(records).map((run) => {
    const life = agent.lives[run.life - 1];
    return {
      ...run,
      end: life?.end === "soft" ? "soft" : "hard",
      promised: lastOf(agent, "promised", stream, run.run),
      written: lastOf(agent, "written", stream, run.run),
    };
  });
}

/** The last frame of a run in this life or in a later one, which may have found the run's frames in its spool. */
function lastOf(
  { lives }: ChaosAgent,
  which: "promised" | "written",
  stream: string,
  run: number,
): number {
  return Math.max(0, ...lives.map((life) => life[which].get(stream)?.get(run) ?? 0));
}

/** Returns the sockets and files that are open or left without need. */
function leaks(fleet: ChaosFleet): readonly string[] {
  const { coordinator, agents, streams } = fleet;
  const processes = [
    { name: "the coordinator", pid: coordinator.pid, max: 2 * streams.length + OTHER_SOCKETS_MAX },
    ...agents.map(({ name, pid, sensors }) => ({
      name,
      pid,
      max: sensors.length + OTHER_SOCKETS_MAX,
    })),
  ];
  const sockets = processes.flatMap(({ name, pid, max }) => {
    const open = pid === undefined ? 0 : openSockets(pid);
    return open > max ? [`${name} has ${open} sockets open at rest but needs at most ${max}`] : [];
  });
  const files = agents.flatMap(({ sensors }) =>
    sensors.flatMap(({ stream, spool }) => {
      const left = spoolFiles(spool).length;
      return left > 1 ? [`${stream}: ${left} files are left although the spool is empty`] : [];
    }),
  );
  return [...sockets, ...files];
}

function openSockets(pid: number): number {
  const dir = `/proc/${pid}/fd`;
  return readdirSync(dir).filter((fd) => {
    try {
      return readlinkSync(join(dir, fd)).startsWith("socket:");
    } catch {
      return false; // Closed since.
    }
  }).length;
}

async function untilStill(fleet: ChaosFleet): Promise<Answer | undefined> {
  const endMs = performance.now() + REST_MS_MAX;
  let before = "";
  let same = 0;
  let restless = "";
  while (performance.now() < endMs && fleet.violations.length === 0) {
    await Bun.sleep(POLL_MS);
    const answer = await fleet.coordinator.api.ask().catch(() => undefined);
    restless =
      answer === undefined ? "the coordinator does not respond" : whyRestless(fleet, answer);
    const now = answer === undefined ? "" : stateOf(fleet, answer);
    same = restless === "" && now === before ? same + 1 : 0;
    before = now;
    if (same >= SAME_POLLS) return answer;
  }
  if (fleet.violations.length === 0)
    fleet.violations.push(
      `the fleet did not come to rest within ${REST_MS_MAX / 1000} s: ${restless || "its state keeps changing"}`,
    );
  return undefined;
}

function whyRestless(fleet: ChaosFleet, answer: Answer): string {
  for (const { name, sensors } of fleet.agents) {
    const state = nodeOf(answer, name)?.state ?? "unknown";
    if (state !== "LIVE") return `${name} is ${state}`;
    for (const sensor of sensors) {
      const counters = countersOf(answer, name)[sensor.name];
      if (counters === undefined) return `${sensor.stream} has no counters`;
      if (counters.spooled > 0 || !isBalanced(counters))
        return `${sensor.stream} counts ${JSON.stringify(counters)}`;
    }
  }
  const waiting = answer.trackers.find(({ frames_waiting: frames }) => frames > 0);
  if (waiting === undefined) return "";
  return `${waiting.frames_waiting} frames wait for the tracker of ${waiting.stream_id}, which is ${waiting.state}`;
}

function stateOf(fleet: ChaosFleet, answer: Answer): string {
  return JSON.stringify([
    fleet.agents.map(({ name }) => countersOf(answer, name)),
    answer.trackers.map(({ stream_id: stream, run, frames, frames_waiting: waiting }) => [
      stream,
      run,
      frames,
      waiting,
    ]),
    fleet.agents.flatMap(({ sensors }) =>
      sensors.map(({ records }) => readSensorRuns(records).at(-1)?.done),
    ),
  ]);
}

function nodeOf(answer: Answer, name: string): NodeView | undefined {
  return answer.nodes.find(({ node_id: id }) => id === name);
}

function countersOf(answer: Answer, name: string): Record<string, SensorCounters> {
  return nodeOf(answer, name)?.counters ?? {};
}
