/** Lets the fleet come to rest after the chaos, and gathers what the verdict needs. */
import { readdirSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import type { NodeView, SensorCounters } from "../../packages/protocol/src/index.ts";
import type { ChaosAgent } from "./parts/agent.ts";
import type { ChaosFleet } from "./fleet.ts";
import { readInputs, readSensorRuns, spoolFiles } from "./frames.ts";
import type { Answer } from "../demo/fleet-api.ts";
import { isBalanced, plainProblems, type SensorFacts, sensorProblems } from "./verdict.ts";

const POLL_MS = 400;
/** A half-open connection is found out within 30 s, the next attempt may be just as unlucky. */
const REST_MS_MAX = 120_000;
/**
 * So often in a row everything must look the same: for longer than a node without heartbeats is LIVE, so that the counters are
 * those of now.
 */
const SAME_LOOKS = 8;
const LAST_FRAMES = 200;
/** HTTP connections that are kept, listeners, outputs. */
const SOCKETS_BESIDE_MAX = 32;

/** What was there at rest. */
export interface Rest {
  readonly answer: Answer;
  /** The coordinator's metrics, in their text form. */
  readonly metrics: string;
}

/** Ends every fault and waits until nothing moves any more; undefined when it never came to that, which is a violation. */
export async function comeToRest(fleet: ChaosFleet): Promise<Rest | undefined> {
  for (const agent of fleet.agents) agent.hold(true);
  fleet.mend();
  await Promise.all(fleet.plain.map((node) => node.stop()));
  const isUp = await untilStill(fleet);
  if (isUp === undefined) return undefined;
  for (const node of fleet.plain)
    if (!(await node.pushOnce(LAST_FRAMES)))
      fleet.violations.push(`${node.name} could not send ${LAST_FRAMES} frames in peace`);
  const answer = await untilStill(fleet);
  fleet.violations.push(...leaks(fleet));
  return answer && { answer, metrics: await fleet.coordinator.api.metrics() };
}

/** Nodes whose balance does not hold at this moment, in their last heartbeat. */
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

/** All violated sentences, once the fleet has been stopped. */
export function judge(fleet: ChaosFleet, { answer, metrics }: Rest): readonly string[] {
  const { coordinator } = fleet;
  const strange: string[] = [];
  const inputsOf = (stream: string) =>
    readInputs(coordinator.inputsDir(stream), (line) => strange.push(`${stream}: ${line}`));
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
  const lines = strange.slice(0, 3).map((line) => `a tracker was given what is no frame: ${line}`);
  return [...lines, ...ofSensors, ...ofPlain, ...metricProblems(fleet, answer, metrics)];
}

/** The metrics say the same as the nodes' list. */
function metricProblems(fleet: ChaosFleet, answer: Answer, metrics: string): readonly string[] {
  const said = new Set(metrics.split("\n"));
  return fleet.agents.flatMap((agent) =>
    agent.sensors.flatMap(({ name, stream }) => {
      const { produced, acked, spooled, dropped } = countersOf(answer, agent.name)[name]!;
      const wanted = [
        `produced_total{stream="${stream}"} ${produced}`,
        `acked_total{stream="${stream}"} ${acked}`,
        `spooled{stream="${stream}"} ${spooled}`,
        ...Object.entries(dropped).map(
          ([reason, n]) => `dropped_total{stream="${stream}",reason="${reason}"} ${n}`,
        ),
      ].map((text) => `fleet_sensor_frames_${text}`);
      return wanted
        .filter((line) => !said.has(line))
        .map((line) => `${stream}: the metrics do not say ${line}`);
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

/** By this life or by a later one that found its frames in the spool. */
function lastOf(
  { lives }: ChaosAgent,
  which: "promised" | "written",
  stream: string,
  run: number,
): number {
  return Math.max(0, ...lives.map((life) => life[which].get(stream)?.get(run) ?? 0));
}

/** What each process still holds when nothing is under way. */
function leaks(fleet: ChaosFleet): readonly string[] {
  const { coordinator, agents, streams } = fleet;
  const processes = [
    { name: "the coordinator", pid: coordinator.pid, max: 2 * streams.length + SOCKETS_BESIDE_MAX },
    ...agents.map(({ name, pid, sensors }) => ({
      name,
      pid,
      max: sensors.length + SOCKETS_BESIDE_MAX,
    })),
  ];
  const sockets = processes.flatMap(({ name, pid, max }) => {
    const open = pid === undefined ? 0 : openSockets(pid);
    return open > max ? [`${name} has ${open} sockets open at rest, and needs at most ${max}`] : [];
  });
  const files = agents.flatMap(({ sensors }) =>
    sensors.flatMap(({ stream, spool }) => {
      const left = spoolFiles(spool).length;
      return left > 1 ? [`${stream}: ${left} files are left of a spool that is empty`] : [];
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
  let looks = 0;
  let restless = "";
  while (performance.now() < endMs && fleet.violations.length === 0) {
    await Bun.sleep(POLL_MS);
    const answer = await fleet.coordinator.api.ask().catch(() => undefined);
    restless =
      answer === undefined ? "the coordinator does not answer" : whyRestless(fleet, answer);
    const now = answer === undefined ? "" : stateOf(fleet, answer);
    looks = restless === "" && now === before ? looks + 1 : 0;
    before = now;
    if (looks >= SAME_LOOKS) return answer;
  }
  if (fleet.violations.length === 0)
    fleet.violations.push(
      `the fleet did not come to rest in ${REST_MS_MAX / 1000} s: ${restless || "it moves on and on"}`,
    );
  return undefined;
}

function whyRestless(fleet: ChaosFleet, answer: Answer): string {
  for (const { name, sensors } of fleet.agents) {
    const state = nodeOf(answer, name)?.state ?? "not known";
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
