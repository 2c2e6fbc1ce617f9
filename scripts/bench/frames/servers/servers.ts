/**
 * The servers that frames pass through: Fleet's coordinator and the public servers it is compared with. Each runs on loopback
 * with a configuration that suits this work best.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { hellosFor, newPlace, startWithStandIns } from "./coordinator.ts";
import type { Wire } from "../ends/orders.ts";
import {
  end,
  freePorts,
  programPath,
  start,
  untilListening,
  versionOf,
} from "../../shared/processes.ts";

/** A running server. */
export interface Server {
  readonly pid: number;
  /** The port for sources, and for sinks that subscribe. */
  readonly port: number;
  readonly hellos: readonly object[];
  stop(): Promise<void>;
}

/** A server to compare. */
export interface Contender {
  readonly name: string;
  readonly version: string | undefined;
  /** What the server guarantees for a message, in a few words. */
  readonly promises: string;
  readonly wire: Wire;
  /** Part of the full work, 0 to 1. Slow servers get less of the same frames. */
  readonly share: number;
  /** `dir` is empty. A server that forwards by itself sends to `sinkPort`. */
  readonly start: (dir: string, sinkPort: number, streams: number) => Promise<Server>;
}

const HOST = "127.0.0.1";

const natsPath = programPath("nats-server");
const mosquittoPath = programPath("mosquitto");
const rsyslogPath = programPath("rsyslogd");

/** All contenders, Fleet first. One without a `version` is not installed. */
export const CONTENDERS: readonly Contender[] = [
  {
    name: "fleet",
    version: "this one",
    promises: "each frame checked, and acked once its tracker's socket has it",
    wire: "session",
    share: 1,
    async start(dir, sinkPort, streams) {
      const place = newPlace(dir, sinkPort);
      const server = await startWithStandIns(place);
      const hellos = await hellosFor(place, streams);
      return serverOf(server, place.framesPort, hellos);
    },
  },
  {
    name: "nats core",
    version: versionOf(natsPath, "--version"),
    promises: "neither checked nor acked",
    wire: "nats",
    share: 1,
    // A slow moment of the subscriber must not disconnect it: this measures how fast the server forwards.
    start: (dir) => startNats(dir, `max_pending: 1GB\nwrite_deadline: "60s"\n`),
  },
  {
    name: "mosquitto QoS 1",
    version: versionOf(mosquittoPath, "-h"),
    promises: "acked to the sender on arrival and by the receiver; kept in memory",
    wire: "mqtt",
    share: 0.03,
    start: startMosquitto,
  },
  {
    name: "jetstream file",
    version: versionOf(natsPath, "--version"),
    promises: "acked once in the file store, not synced; the receiver does not ack",
    wire: "jetstream",
    share: 0.1,
    start: (dir) =>
      startNats(
        dir,
        `max_pending: 1GB\nwrite_deadline: "60s"\njetstream { store_dir: "${join(dir, "store")}", max_file: 20GB }\n`,
      ),
  },
  {
    name: "rsyslog TCP",
    version: versionOf(rsyslogPath, "-v"),
    promises: "neither checked nor acked; a queue in memory",
    wire: "lines",
    share: 0.3,
    start: startRsyslog,
  },
];

function serverOf(
  process_: Bun.Subprocess,
  port: number,
  hellos: readonly object[] = [],
  signal: NodeJS.Signals = "SIGTERM",
): Server {
  return { pid: process_.pid, port, hellos, stop: () => end([process_], signal) };
}

async function startNats(dir: string, text: string): Promise<Server> {
  const [port] = freePorts(1) as [number];
  const config = join(dir, "nats.conf");
  writeFileSync(config, text);
  const server = start([natsPath!, "-c", config, "-a", HOST, "-p", String(port)], {}, true);
  await untilListening(port);
  return serverOf(server, port);
}

async function startMosquitto(dir: string): Promise<Server> {
  const [port] = freePorts(1) as [number];
  const config = join(dir, "mosquitto.conf");
  writeFileSync(
    config,
    [
      `listener ${port} ${HOST}`,
      "allow_anonymous true",
      "persistence false",
      "set_tcp_nodelay true",
      // The default of 20 in flight would make mosquitto wait, and a bounded queue would make it drop.
      "max_inflight_messages 1000",
      "max_queued_messages 0",
      "log_type error",
      // As root, mosquitto would otherwise switch to a user that cannot read this directory.
      "user root",
      "",
    ].join("\n"),
  );
  const server = start([mosquittoPath!, "-c", config], {}, true);
  await untilListening(port);
  return serverOf(server, port);
}

async function startRsyslog(dir: string, sinkPort: number): Promise<Server> {
  const [port] = freePorts(1) as [number];
  const process_ = await startRsyslogd(dir, [
    'module(load="imptcp")',
    'template(name="line" type="string" string="%rawmsg%\\n")',
    `ruleset(name="out" queue.type="LinkedList" queue.size="200000" queue.dequeueBatchSize="2000" queue.timeoutEnqueue="60000") {
       action(type="omfwd" target="${HOST}" port="${sinkPort}" protocol="tcp" template="line" action.resumeRetryCount="-1")
     }`,
    `input(type="imptcp" port="${port}" address="${HOST}" ruleset="out")`,
  ]);
  await untilListening(port);
  return serverOf(process_, port, [], "SIGKILL");
}

/** Returns the version of rsyslogd, or undefined if it is not installed. */
export function rsyslogVersion(): string | undefined {
  return versionOf(rsyslogPath, "-v");
}

/** Runs rsyslogd in the foreground with its own directory and configuration. */
export async function startRsyslogd(
  dir: string,
  config: readonly string[],
): Promise<Bun.Subprocess> {
  mkdirSync(dir, { recursive: true });
  const file = join(dir, "rsyslog.conf");
  const general = `global(workDirectory="${dir}" maxMessageSize="64k" parser.escapeControlCharactersOnReceive="off")`;
  writeFileSync(file, [general, ...config, ""].join("\n"));
  return start([rsyslogPath!, "-n", "-f", file, "-i", join(dir, "pid")], {}, true);
}
