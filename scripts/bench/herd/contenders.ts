/** Who keeps the herd: Fleet's coordinator, and public servers that do a part of the same, each with durable state of its own where it has any. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../lib/root.ts";
import {
  freePorts,
  programPath,
  start,
  untilListening,
  untilOk,
  versionOf,
} from "../frames/processes.ts";
import type { Kind } from "./orders.ts";

export const ENROLL_TOKEN = "bench-enroll";

/** A server that can be killed and started again in its place. */
export interface Contender {
  readonly name: string;
  readonly kind: Kind;
  readonly version: string | undefined;
  /** What a client coming in, and one checking in, amounts to. */
  readonly does: string;
  /** Gives the port clients come to, and how to start it there. */
  readonly place: (dir: string) => { readonly port: number; start(): Promise<Bun.Subprocess> };
}

const etcd = programPath("etcd");
const mosquitto = programPath("mosquitto");

export const CONTENDERS: readonly Contender[] = [
  {
    name: "fleet",
    kind: "fleet",
    version: "this one",
    does: "register: a row, synced to disk before the answer; then an event stream. check-in: an authenticated heartbeat",
    place(dir) {
      const [port, frames] = freePorts(2) as [number, number];
      const binary = join(root, "dist/fleet-coordinator");
      const flags = ["--data-dir", join(dir, "data"), "--log-level", "error"];
      const addresses = ["--http", `0.0.0.0:${port}`, "--frames", `127.0.0.1:${frames}`];
      const env = { FLEET_ENROLL_TOKEN: ENROLL_TOKEN, FLEET_OPERATOR_TOKEN: "bench-operator" };
      return {
        port,
        async start() {
          const server = start([binary, "serve", ...flags, ...addresses], env);
          await untilOk(`http://127.0.0.1:${port}/healthz`);
          return server;
        },
      };
    },
  },
  {
    name: "mosquitto",
    kind: "mqtt",
    version: versionOf(mosquitto, "-h"),
    does: "connect: nothing kept, nobody known. check-in: a ping on the open connection",
    place(dir) {
      const [port] = freePorts(1) as [number];
      const config = join(dir, "mosquitto.conf");
      const lines = ["allow_anonymous true", "persistence false", "log_type error", "user root"];
      writeFileSync(config, [`listener ${port} 0.0.0.0`, ...lines, ""].join("\n"));
      return {
        port,
        async start() {
          const server = start([mosquitto!, "-c", config], {}, true);
          await untilListening(port);
          return server;
        },
      };
    },
  },
  {
    name: "etcd",
    kind: "etcd",
    version: versionOf(etcd, "--version"),
    does: "grant: a lease, synced to disk before the answer. check-in: the lease kept alive, over the JSON gateway",
    place(dir) {
      const [port, peer] = freePorts(2) as [number, number];
      const url = `http://127.0.0.1:${port}`;
      const peers = `http://127.0.0.1:${peer}`;
      const own = ["--data-dir", join(dir, "etcd"), "--log-level", "error"];
      const clients = ["--listen-client-urls", `http://0.0.0.0:${port}`];
      const advertised = ["--advertise-client-urls", url, "--initial-advertise-peer-urls", peers];
      const cluster = ["--listen-peer-urls", peers, "--initial-cluster", `default=${peers}`];
      const flags = [...own, ...clients, ...advertised, ...cluster];
      return {
        port,
        async start() {
          const server = start([etcd!, ...flags], {}, true);
          await untilOk(`${url}/health`);
          return server;
        },
      };
    },
  },
];
