/** The servers that hold the herd: Fleet's coordinator, and public servers that do part of its work, with durable state where they have any. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { startCoordinator } from "../shared/coordinator.ts";
import {
  freePorts,
  programPath,
  start,
  untilListening,
  untilOk,
  versionOf,
} from "../shared/processes.ts";
import type { Kind } from "./orders.ts";

/** A server that can be killed and started again with the same port and data. */
export interface Contender {
  readonly name: string;
  readonly kind: Kind;
  readonly version: string | undefined;
  /** What the server does when a client enters and when it checks in. */
  readonly does: string;
  /** Chooses the port for clients and returns a function that starts the server there. */
  readonly place: (dir: string) => { readonly port: number; start(): Promise<Bun.Subprocess> };
}

const etcd = programPath("etcd");
const mosquitto = programPath("mosquitto");

export const CONTENDERS: readonly Contender[] = [
  {
    name: "fleet",
    kind: "fleet",
    version: "this one",
    does: "register: a row, synced to disk before the response; then an event stream. check-in: an authenticated heartbeat",
    place(dir) {
      const [port, frames] = freePorts(2) as [number, number];
      return {
        port,
        start: () =>
          startCoordinator({
            dataDir: join(dir, "data"),
            http: `0.0.0.0:${port}`,
            frames: `127.0.0.1:${frames}`,
          }),
      };
    },
  },
  {
    name: "mosquitto",
    kind: "mqtt",
    version: versionOf(mosquitto, "-h"),
    does: "connect: nothing stored, no authentication. check-in: a ping on the open connection",
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
    does: "grant: a lease, synced to disk before the response. check-in: keeps the lease alive, over the JSON gateway",
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
