/**
 * The coordinator of the frame bench. Its trackers are stand-ins: shells that send the port they were given to the sink and
 * wait, so that one light process receives all streams, as one subscriber does beside the other servers.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { ApiClient } from "../../../../packages/api-client/src/index.ts";
import { agentsApi } from "../../../../packages/protocol/src/index.ts";
import { ENROLL_TOKEN, startCoordinator } from "../../shared/coordinator.ts";
import { freePorts } from "../../shared/processes.ts";

const SENSORS_PER_NODE = 100;
const STAND_IN = 'exec 3<>/dev/tcp/127.0.0.1/$0 && printf "%s %s" "$1" "$2" >&3 && read -r _ <&3';
const TRACKER_PORT_FIRST = 15_000;

/** Where a coordinator listens and keeps its data. The same after a restart. */
export interface Place {
  readonly dir: string;
  readonly httpPort: number;
  readonly framesPort: number;
  /** The port of the sink. */
  readonly sinkPort: number;
}

/** Chooses free ports. */
export function newPlace(dir: string, sinkPort: number): Place {
  const [httpPort, framesPort] = freePorts(2) as [number, number];
  return { dir, httpPort, framesPort, sinkPort };
}

/** Starts a coordinator whose trackers are stand-ins. */
export function startWithStandIns(place: Place): Promise<Bun.Subprocess> {
  const { dir, httpPort, framesPort, sinkPort } = place;
  const config = join(dir, "coordinator.yaml");
  writeFileSync(
    config,
    JSON.stringify({
      tracker: { command: ["bash", "-c", STAND_IN, String(sinkPort), "{port}", "{stream}"] },
      tcp_server: {
        auto_provision_port_start: TRACKER_PORT_FIRST,
        auto_provision_port_end: TRACKER_PORT_FIRST + 4000,
      },
    }),
  );
  return startCoordinator({
    dataDir: join(dir, "data"),
    http: `127.0.0.1:${httpPort}`,
    frames: `127.0.0.1:${framesPort}`,
    config,
  });
}

/** Registers nodes with `streams` sensors in total. Returns the hello of each stream. */
export async function hellosFor(place: Place, streams: number): Promise<readonly object[]> {
  const hellos: object[] = [];
  for (let node = 0; hellos.length < streams; node++) {
    const count = Math.min(SENSORS_PER_NODE, streams - hellos.length);
    hellos.push(...(await register(place, `bench${node}`, count)));
  }
  return hellos;
}

async function register(place: Place, node: string, count: number): Promise<object[]> {
  const sensors = Array.from({ length: count }, (_, i) => ({
    name: `s${i}`,
    runtime: "native",
    mode: "stream" as const,
  }));
  const names = { node_id: node, instance_id: "bench" };
  const client = new ApiClient({
    url: `http://127.0.0.1:${place.httpPort}`,
    token: ENROLL_TOKEN,
  });
  const body = { ...names, version: "bench", sensors };
  const { access_token: token, epoch } = await client.call(agentsApi.register, { body });
  return sensors.map(({ name: sensor }) => ({
    type: "hello",
    protocol: 1,
    ...names,
    sensor,
    spool_id: "bench",
    token,
    epoch,
    first_seq: 1,
  }));
}
