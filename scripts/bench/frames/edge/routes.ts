/**
 * Routes from a sensor's stdout to a sink, in two halves: the edge, which keeps what is not acknowledged yet, and the server
 * it sends to. One route is Fleet's agent and coordinator, the other a pair of rsyslogd that speak RELP (acknowledged lines).
 */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../../lib/root.ts";
import { ENROLL_TOKEN } from "../../shared/coordinator.ts";
import { newPlace, startWithStandIns } from "../servers/coordinator.ts";
import { end, freePorts, start, untilListening } from "../../shared/processes.ts";
import { rsyslogVersion, startRsyslogd } from "../servers/servers.ts";

const HOST = "127.0.0.1";
const SPOOL_BYTES_MAX = "2GiB";
const RELP_MODULES = ["x86_64", "aarch64"].map(
  (arch) => `/usr/lib/${arch}-linux-gnu/rsyslog/omrelp.so`,
);

/**
 * Arguments: `$0` control port of the bench, `$1` file of frames, `$2` repeats, `$3` either `stdout` or a TCP port. Waits for
 * `go`, prints the file, and reports `done`.
 */
const SENSOR = `
tell() { exec 3<>/dev/tcp/127.0.0.1/$0; printf '{"part":"sensor","event":"%s"}\\n' "$1" >&3; read -r _ <&3; exec 3>&-; }
[ "$3" = stdout ] || exec 1<>/dev/tcp/127.0.0.1/$3
tell ready
for ((i = 0; i < $2; i++)); do cat "$1"; done
tell done
exec sleep 100000
`;

/** What the sensor prints. */
export interface Print {
  readonly controlPort: number;
  readonly file: string;
  readonly repeats: number;
}

/** A running route, whose sensor waits for `go`. */
export interface Route {
  readonly edgePid: number;
  serverPid(): number;
  stopServer(): Promise<void>;
  startServer(): Promise<void>;
  close(): Promise<void>;
}

/** A route to compare. One without a `version` is not installed. */
export interface RouteKind {
  readonly name: string;
  readonly version: string | undefined;
  readonly promises: string;
  readonly open: (dir: string, sinkPort: number, print: Print) => Promise<Route>;
}

export const ROUTES: readonly RouteKind[] = [
  {
    name: "fleet",
    version: "this one",
    promises:
      "spool on disk; a frame leaves it once it is in its tracker's socket; a full spool blocks the sensor",
    open: openFleet,
  },
  {
    name: "rsyslog RELP",
    version: RELP_MODULES.some((m) => existsSync(m)) ? rsyslogVersion() : undefined,
    promises:
      "disk-assisted queue (memory first); a line leaves it once it is in the memory of the other rsyslogd; the sensor writes to TCP",
    open: openRsyslog,
  },
];

function sensorCommand(print: Print, to: string): string[] {
  const { controlPort, file, repeats } = print;
  return ["/bin/bash", "-c", SENSOR, String(controlPort), file, String(repeats), to];
}

async function openFleet(dir: string, sinkPort: number, print: Print): Promise<Route> {
  const place = newPlace(dir, sinkPort);
  let server = await startWithStandIns(place);
  const config = join(dir, "agent.yaml");
  const sensor = { name: "s", runtime: "native", command: sensorCommand(print, "stdout") };
  writeFileSync(
    config,
    JSON.stringify({
      node: { name: "bench" },
      runtimes: ["native"],
      sensors: [{ ...sensor, restart: "never" }],
      spool: { bytes_max: SPOOL_BYTES_MAX, on_full: "block" },
    }),
  );
  const flags = ["--config", config, "--state-dir", join(dir, "state"), "--log-level", "error"];
  const agent = start([join(root, "dist/fleet-agent"), ...flags], {
    FLEET_COORDINATOR_URL: `http://${HOST}:${place.httpPort}`,
    FLEET_ENROLL_TOKEN: ENROLL_TOKEN,
  });
  return {
    edgePid: agent.pid,
    serverPid: () => server.pid,
    stopServer: () => end([server]),
    async startServer() {
      server = await startWithStandIns(place);
    },
    async close() {
      await end([agent]);
      await end([server]);
    },
  };
}

async function openRsyslog(dir: string, sinkPort: number, print: Print): Promise<Route> {
  const [edgePort, relpPort] = freePorts(2) as [number, number];
  const queue = `queue.type="LinkedList" queue.size="200000" queue.dequeueBatchSize="2000" queue.timeoutEnqueue="600000"`;
  // The queue spills to disk well before it slows the sensor down, which it does when 70 % full.
  const disk = `queue.highWatermark="100000" queue.lowWatermark="20000" queue.filename="spool" queue.maxDiskSpace="2g" queue.saveOnShutdown="on"`;
  const forever = `action.resumeRetryCount="-1" action.resumeInterval="1"`;
  const startRelp = (): Promise<Bun.Subprocess> =>
    startRsyslogd(join(dir, "server"), [
      'module(load="imrelp")',
      'template(name="line" type="string" string="%rawmsg%\\n")',
      `ruleset(name="out" ${queue}) { action(type="omfwd" target="${HOST}" port="${sinkPort}" protocol="tcp" template="line" ${forever}) }`,
      `input(type="imrelp" port="${relpPort}" address="${HOST}" maxDataSize="64k" ruleset="out")`,
    ]);
  let server = await startRelp();
  await untilListening(relpPort);
  const edgeDir = join(dir, "edge");
  mkdirSync(edgeDir);
  const edge = await startRsyslogd(edgeDir, [
    'module(load="imptcp")',
    'module(load="omrelp")',
    'template(name="line" type="string" string="%rawmsg%")',
    `ruleset(name="out" ${queue} ${disk}) { action(type="omrelp" windowSize="10000" target="${HOST}" port="${relpPort}" template="line" ${forever}) }`,
    `input(type="imptcp" port="${edgePort}" address="${HOST}" ruleset="out")`,
  ]);
  await untilListening(edgePort);
  const sensor = start(sensorCommand(print, String(edgePort)));
  return {
    edgePid: edge.pid,
    serverPid: () => server.pid,
    stopServer: () => end([server], "SIGKILL"),
    async startServer() {
      server = await startRelp();
    },
    close: () => end([sensor, edge, server], "SIGKILL"),
  };
}
